# Built and run by docker-compose.yml. The tools stay behind; what runs is one file and no root.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist --bin keygate

FROM debian:bookworm-slim
# By these a store or a webhook behind TLS is known.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home keygate \
    && install --directory --owner=keygate --group=keygate --mode=0700 /var/lib/keygate
COPY --from=build /src/target/dist/keygate /usr/local/bin/keygate
USER keygate
WORKDIR /var/lib/keygate
# The control socket, and the store where it is the embedded one.
ENV KEYGATE__DATA_DIR=/var/lib/keygate
VOLUME /var/lib/keygate
EXPOSE 9180 9181 9182
HEALTHCHECK --interval=5s --timeout=3s CMD ["keygate", "health"]
ENTRYPOINT ["keygate"]
CMD ["serve"]
