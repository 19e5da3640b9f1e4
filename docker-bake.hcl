# Builds the image for several platforms:
#
#   docker buildx bake                                    # cross-compiled from source
#   deploy/release && BINARY=prebuilt docker buildx bake  # from dist/linux-*/; fails if one of them is missing
#   docker buildx bake local                              # for this machine only
#
# Several platforms need a builder that can do that (`docker buildx create --use`) and a destination such as `--push`, or Docker's
# containerd image store. IMAGE and VERSION name the image.
variable "IMAGE" {
  default = "docker-exit-exporter"
}

variable "VERSION" {
  default = ""
}

variable "REVISION" {
  default = ""
}

# `source` or `prebuilt`, see Dockerfile.
variable "BINARY" {
  default = "source"
}

group "default" {
  targets = ["image"]
}

target "local" {
  context = "."
  args = {
    BINARY = BINARY
  }
  tags = VERSION == "" ? ["${IMAGE}:latest"] : ["${IMAGE}:${VERSION}", "${IMAGE}:latest"]
  labels = {
    "org.opencontainers.image.version"  = VERSION == "" ? null : VERSION
    "org.opencontainers.image.revision" = REVISION == "" ? null : REVISION
  }
}

target "image" {
  inherits  = ["local"]
  platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
}
