# One static binary in an image that holds nothing else: no shell, no root.
FROM golang:1.26-bookworm AS build
WORKDIR /src
# Modules first: they change less often than the source.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/flows ./cmd/flows

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/flows /flows
COPY LICENSE /LICENSE
ENV FLOWS_HTTP_ADDR=0.0.0.0:8080 \
    FLOWS_LOG_FORMAT=json
EXPOSE 8080
# The image has no curl; the binary asks its own /readyz.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
    CMD ["/flows", "healthcheck"]
ENTRYPOINT ["/flows"]
CMD ["serve"]
