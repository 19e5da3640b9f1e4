# docker-exit-exporter: one static binary, and the licences of what is in it.
#
#   docker build -t docker-exit-exporter .
#
# for this machine's own architecture, and for others, cross-compiled (no emulation):
#
#   docker buildx build --platform linux/amd64,linux/arm64,linux/arm/v7 -t docker-exit-exporter .
#
# A binary that is built already, static, in dist/docker-exit-exporter, is packaged without any base image:
#
#   docker build --build-arg BINARY=prebuilt -t docker-exit-exporter .
#
# It takes BuildKit, which skips the stage that is not chosen (Docker before 23.0: DOCKER_BUILDKIT=1).
ARG BINARY=source

FROM --platform=$BUILDPLATFORM rust:1-alpine AS source
RUN apk add --no-cache musl-dev
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
# Cargo reads the manifests of all that belongs to the workspace.
COPY benches/Cargo.toml benches/
COPY examples/Cargo.toml examples/
COPY tests/support/Cargo.toml tests/support/
COPY src src
ARG BUILDARCH TARGETARCH TARGETVARIANT
# For another architecture Rust's own linker does: there is no C in this program.
RUN set -eu; \
    case "$TARGETARCH$TARGETVARIANT" in \
        amd64*) target=x86_64-unknown-linux-musl ;; \
        arm64*) target=aarch64-unknown-linux-musl ;; \
        armv7) target=armv7-unknown-linux-musleabihf ;; \
        *) echo "cannot build for $TARGETARCH$TARGETVARIANT" >&2; exit 1 ;; \
    esac; \
    if [ "$TARGETARCH" != "$BUILDARCH" ]; then \
        rustup target add "$target"; \
        export RUSTFLAGS='-C linker=rust-lld -C link-self-contained=yes'; \
    fi; \
    cargo build --release --locked --target "$target"; \
    mv "target/$target/release/docker-exit-exporter" /docker-exit-exporter

FROM scratch AS prebuilt
COPY dist/docker-exit-exporter /docker-exit-exporter

FROM ${BINARY} AS binary

FROM scratch
LABEL org.opencontainers.image.title="docker-exit-exporter" \
      org.opencontainers.image.description="A Prometheus exporter for the exit codes of stopped Docker containers" \
      org.opencontainers.image.licenses="MIT AND Apache-2.0"
COPY LICENSE THIRD_PARTY_LICENSES /
COPY --from=binary --chmod=0755 /docker-exit-exporter /docker-exit-exporter
EXPOSE 9090
# It starts as root only to become the user 65534 with the group of Docker's socket, whatever that is on this host.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["/docker-exit-exporter", "healthcheck"]
ENTRYPOINT ["/docker-exit-exporter"]
