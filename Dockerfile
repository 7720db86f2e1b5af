# tallygate as images: `tallygate` (roles edge and orchestrator) and `redis` (Redis as both need it).
#
#   docker build -t tallygate .                         make image does it without an engine
#   docker build --target redis -t tallygate-redis .
#
# BASE may be pinned: --build-arg BASE=debian@sha256:...  How to run them: docs/reference/deploy.md
ARG BASE=docker.io/library/debian:trixie-slim

# ---- builder: compilers and headers, nothing of which goes further ----
FROM ${BASE} AS builder
WORKDIR /src
COPY tests/harness/deps.sh tests/harness/deps.sh
RUN tests/harness/deps.sh build
COPY . .
RUN make -s -j"$(nproc)" build/tallygate build/ngx_http_tally_module.so
RUN conf/image/assemble.sh /out

# ---- symbols: `docker build --target symbols -o symbols .`, for a debugger; the same build ----
FROM scratch AS symbols
COPY --from=builder /out/symbols/ /

# ---- base: one user for all roles; sockets are shared between them by their owner ----
FROM ${BASE} AS base
RUN groupadd --gid 10001 tallygate \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin tallygate \
 && mkdir -p /run/tallygate /run/secrets /var/lib/tallygate \
 && chown 10001:10001 /run/tallygate /var/lib/tallygate \
 && chmod 750 /run/tallygate /var/lib/tallygate

# ---- redis ----
FROM base AS redis
RUN printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
 && apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* \
        /usr/sbin/policy-rc.d \
 && mkdir /data && chown 10001:10001 /data && chmod 750 /data
COPY --chmod=644 conf/redis.conf conf/redis.acl.in /usr/share/tallygate/conf/
COPY --chmod=755 conf/image/redis.sh /usr/lib/tallygate/redis
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tallygate-redis" \
      org.opencontainers.image.description="Redis with the settings and users that tallygate needs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
VOLUME ["/data"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/lib/tallygate/redis", "health"]
ENTRYPOINT ["/usr/lib/tallygate/redis"]
CMD ["serve"]

# ---- tallygate: what the two halves link, and NGINX ----
FROM base AS tallygate
COPY --from=builder /out/packages /usr/share/tallygate/packages
RUN printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
 && apt-get update -q \
 && xargs env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        </usr/share/tallygate/packages \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* \
        /usr/sbin/policy-rc.d
COPY --from=builder /out/root/ /
# NGINX takes the module, and no library is missing, or there is no image
RUN echo 'load_module /usr/lib/tallygate/ngx_http_tally_module.so; events {}' >/tmp/nginx.conf \
 && nginx -t -q -e stderr -c /tmp/nginx.conf -g 'pid /tmp/nginx.pid;' \
 && rm -f /tmp/nginx.conf /tmp/nginx.pid && rm -rf /var/log/nginx/* /var/lib/nginx/* \
 && tallygate --version
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tallygate" \
      org.opencontainers.image.description="Business events in at an NGINX edge, each posted exactly once to ERP and payroll" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# the commands' default, conf/tallygate.yaml, and the rules are found from here
WORKDIR /usr/share/tallygate
USER 10001:10001
VOLUME ["/var/lib/tallygate"]
EXPOSE 8080
# both roles end gracefully on it
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/lib/tallygate/entrypoint", "health"]
ENTRYPOINT ["/usr/lib/tallygate/entrypoint"]
