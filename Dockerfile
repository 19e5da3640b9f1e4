# One static binary, and the licences of what is in it.
#
#   docker build -t docker-exit-exporter .
#
# For other platforms it is cross-compiled, without emulation:
#
#   docker buildx build --platform linux/amd64,linux/arm64,linux/arm/v7 -t docker-exit-exporter .
#
# Static binaries that exist already are packaged without any base image, also for several platforms at once. deploy/release builds
# them. Each platform has its own folder, so no image can get the binary of another platform: dist/linux-amd64/, dist/linux-arm64/,
# dist/linux-armv7/.
#
#   docker build --build-arg BINARY=prebuilt -t docker-exit-exporter .
#
# The build needs BuildKit, which skips the stage that is not chosen (before Docker 23: DOCKER_BUILDKIT=1).
ARG BINARY=source
# BuildKit sets this since 0.17 (Docker 28), see below. For Docker 25 to 27: --build-arg TARGETSTAGE=default.
ARG TARGETSTAGE

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
# Another platform needs no C compiler, because there is no C in this program: Rust's own linker is enough.
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
ARG TARGETOS TARGETARCH TARGETVARIANT
COPY dist/${TARGETOS}-${TARGETARCH}${TARGETVARIANT}/docker-exit-exporter /docker-exit-exporter

FROM ${BINARY} AS binary

# Builders before BuildKit 0.12 (Docker 25) reject --start-interval, even in a stage that they skip, unless ONBUILD hides it. Without
# it the first health check comes after 30 s.
FROM scratch AS healthcheck
ONBUILD HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/docker-exit-exporter", "healthcheck"]
FROM scratch AS healthcheck-start-interval
ONBUILD HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --start-interval=1s --retries=3 \
    CMD ["/docker-exit-exporter", "healthcheck"]

FROM healthcheck${TARGETSTAGE:+-start-interval}
LABEL org.opencontainers.image.title="docker-exit-exporter" \
      org.opencontainers.image.description="A Prometheus exporter for the exit codes of stopped Docker containers" \
      org.opencontainers.image.licenses="MIT AND Apache-2.0"
COPY LICENSE THIRD_PARTY_LICENSES /
COPY --from=binary --chmod=0755 /docker-exit-exporter /docker-exit-exporter
EXPOSE 9090
# It starts as root, and becomes user 65534 with the group of this host's Docker socket.
ENTRYPOINT ["/docker-exit-exporter"]
