# The gateway as a container: one stage compiles the request path, one installs the locked packages;
# the last has no installer and no compiler. Runs as nobody in particular on a read-only root; only /data is
# written. Mount the route file, its pricing file and, for the embedded ledger, a volume on /data.

FROM python:3.11 AS compiled
COPY requirements-dev.lock /tmp/requirements-dev.lock
RUN python -m venv --without-pip /opt/tools \
 && pip --python /opt/tools/bin/python install --no-cache-dir --disable-pip-version-check \
      --only-binary :all: --require-hashes -r /tmp/requirements-dev.lock
WORKDIR /src
COPY pyproject.toml pyproject.toml
COPY tools/compile_hot_path.py tools/compile_hot_path.py
COPY gateway gateway
RUN /opt/tools/bin/python tools/compile_hot_path.py --required

FROM python:3.11-slim AS packages
COPY requirements.lock /tmp/requirements.lock
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
      --only-binary :all: --require-hashes -r /tmp/requirements.lock

FROM python:3.11-slim
RUN pip uninstall --yes --root-user-action ignore pip setuptools wheel \
 && rm -rf /usr/local/lib/python3.11/ensurepip \
 && install -d -o 10001 -g 10001 /data
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY gateway gateway
COPY --from=compiled /src/gateway/_compiled gateway/_compiled
COPY upstream_stubs upstream_stubs
COPY policies policies
COPY fixtures fixtures
# Compiled now, because a read-only root can't keep what would be compiled at the first start.
RUN /opt/venv/bin/python -m compileall -q gateway upstream_stubs \
 && printf '#!/bin/sh\nexec /opt/venv/bin/python -m gateway "$@"\n' > /opt/venv/bin/gateway \
 && chmod 755 /opt/venv/bin/gateway

ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_CONFIG=/etc/gateway/gateway.yaml GATEWAY_DATA_DIR=/data
USER 10001:10001
VOLUME /data
# 8080: the API's callers. 9090: health and metrics, for the operator's network only.
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# Asks where GATEWAY_ADMIN_LISTEN says; of an admin_listen in the route file it knows nothing.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import http.client, os; host, _, port = os.environ.get('GATEWAY_ADMIN_LISTEN', '127.0.0.1:9090').partition(',')[0].strip().rpartition(':'); at = {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host); c = http.client.HTTPConnection(f'{at}:{port}', timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
