FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Hammer" \
      org.opencontainers.image.version="0.9.0" \
      org.opencontainers.image.licenses="MIT"
WORKDIR /opt/hammer
ENV PYTHONUNBUFFERED=1
COPY requirements.lock .
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY config.py gunicorn.conf.py wsgi.py ./
COPY hammer hammer
COPY migrations migrations
RUN python -m compileall -q .
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin hammer
USER hammer
ENV HAMMER_ENV=production BIND=0.0.0.0:8000 MALLOC_ARENA_MAX=2
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["gunicorn", "--config", "gunicorn.conf.py"]
