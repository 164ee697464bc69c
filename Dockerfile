# The page and REST over the runs of a folder, or any other command (docs/serving.md#in-a-container):
#   docker build -t species-pipeline .
#   docker run -p 7860:7860 -e PIPELINE_PASSWORD=... -v "$PWD":/work species-pipeline
FROM python:3.12-slim

# Where there are wheels of PyTorch for processors alone; else pip takes those for GPUs, of some gigabytes.
ARG PIP_EXTRA_INDEX_URL

WORKDIR /app
COPY pyproject.toml requirements.txt README.md LICENSE ./
COPY conf conf
COPY pipeline pipeline
RUN pip install --no-cache-dir --constraint requirements.txt --editable '.[app,onnx]' \
    && useradd --uid 1000 --create-home user \
    && install --directory --owner user /work

USER 1000
WORKDIR /work
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/api/health', timeout=4)"]
ENTRYPOINT ["python", "-m"]
CMD ["pipeline.app", "host=0.0.0.0"]
