# One image for each service: docker build --build-arg SERVICE=api --build-arg PORT=8000 .
# `todoctl images build` builds all of them; it adds the page's Socket.IO client as vendor/.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim

FROM ${BASE_IMAGE} AS libraries
ARG LOCK=services
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/${LOCK}.lock /src/requirements.lock
# Commands that libraries bring are nothing that a service runs. Compiled here, because the image is read-only; by content
# and not by time, so that two builds are the same.
RUN python -m pip install --quiet --require-hashes --only-binary=:all: --no-compile --target=/opt/site \
        -r /src/requirements.lock \
    && rm -rf /opt/site/bin \
    && python -m compileall -q -j 1 --invalidation-mode unchecked-hash /opt/site \
    && chmod -R a+rX,go-w /opt/site

FROM ${BASE_IMAGE} AS code
ARG SERVICE
COPY todoctl/__init__.py /src/todoctl/
COPY todoctl/core/ /src/todoctl/core/
COPY services/ /src/services/
COPY Dockerfile vendo[r]/ /src/vendor/
# The core, what all services share, and the one service; the page and its client go with api, and what a release says of
# itself with migrations.
RUN mkdir -p /app/services /app/vendor \
    && cp -r /src/todoctl /app/todoctl \
    && cp /src/services/__init__.py /app/services/ \
    && cp -r /src/services/common /src/services/waiting "/src/services/${SERVICE:?}" /app/services/ \
    && if [ "$SERVICE" = migrations ]; then cp -r /src/services/release.py /src/services/contracts /app/services/; fi \
    && if [ "$SERVICE" = api ]; then cp -r /src/services/web /app/services/ && cp -r /src/vendor /app/; fi \
    && rm -f /app/vendor/Dockerfile \
    && find /app -name __pycache__ -prune -exec rm -rf {} + \
    && python -m compileall -q -j 1 --invalidation-mode unchecked-hash /app \
    && chmod -R a+rX,go-w /app

FROM ${BASE_IMAGE}
# What installs packages has no place where nothing is installed.
RUN rm -rf /usr/local/lib/python3*/ensurepip /usr/lib/python3*/ensurepip \
    /usr/local/lib/python3*/site-packages/* /usr/local/bin/pip* /usr/bin/pip* \
    /usr/lib/python3/dist-packages/pip* /usr/lib/python3/dist-packages/setuptools* /usr/lib/python3/dist-packages/wheel* \
    /usr/share/python-wheels /root/.cache
COPY --from=libraries /opt/site /opt/site
ARG SERVICE
ARG PORT=8000
COPY --from=code /app /app
ENV PYTHONPATH=/app:/opt/site PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    SERVICE=${SERVICE} WEB_VENDOR=/app/vendor
LABEL org.opencontainers.image.title="todo-${SERVICE}" org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
USER 65532:65532
EXPOSE ${PORT}
CMD exec python -m services.${SERVICE}
