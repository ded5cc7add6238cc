"""Compares `emberlens serve` with FastAPI and onnxruntime: answers a second, and whether all are equal.

    emberlens export RUN --onnx run.onnx
    python scripts/compare/serve.py RUN run.onnx IMAGES

Needs `pip install fastapi uvicorn onnxruntime pillow`, and `emberlens` in the path. The server in
Python is the usual one of twenty lines: an image is read by Pillow and classified by itself, in a
pool of threads. Both servers and the clients share the machine.
"""

import argparse
import io
import itertools
import json
import pathlib
import socket
import statistics
import subprocess
import sys
import threading
import time

PORTS = {"emberlens": 8177, "fastapi": 8178}


def application(path):
    """The server in Python."""
    import fastapi
    import numpy
    import onnxruntime
    import PIL.Image
    import PIL.ImageOps
    from starlette.concurrency import run_in_threadpool

    model = onnxruntime.InferenceSession(path)
    classes = json.loads(model.get_modelmeta().custom_metadata_map["classes"])
    app = fastapi.FastAPI()

    def classify(body):
        image = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(body))).convert("RGB")
        inputs = {"image": numpy.asarray(image)[None]}
        row = model.run(["probabilities"], inputs)[0][0]
        return {"label": classes[row.argmax()], "probabilities": dict(zip(classes, map(float, row)))}

    @app.post("/predict")
    async def predict(request: fastapi.Request):
        return await run_in_threadpool(classify, await request.body())

    return app


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection, body):
    """Returns status and answer, over a connection that stays open."""
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError("closed")
        answer += part
    head, answer = answer.split(b"\r\n\r\n", 1)
    lines = head.lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
    while len(answer) < length:
        answer += connection.recv(65536)
    return int(lines[0].split(b" ")[1]), answer


def load(port, images, requests, clients):
    """Returns answers a second, the median time, and how many answers were lost or unequal."""
    connection = connect(port)
    expected = [ask(connection, image) for image in images]
    numbers, lock = itertools.count(), threading.Lock()
    times, wrong = [], 0

    def client():
        nonlocal wrong
        connection = connect(port)
        while (number := next(numbers)) < requests:
            start = time.perf_counter()
            try:
                found = ask(connection, images[number % len(images)])
            except OSError:
                found, connection = None, connect(port)
            with lock:
                times.append(time.perf_counter() - start)
                wrong += found != expected[number % len(images)]

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return requests / (time.perf_counter() - start), statistics.median(times), wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("onnx")
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--application", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.application:
        import uvicorn

        uvicorn.run(application(args.onnx), port=PORTS["fastapi"], log_level="error")
        return
    paths = sorted(path for path in args.images.rglob("*") if path.is_file())[:50]
    images = [path.read_bytes() for path in paths]
    serve = ["emberlens", "serve", args.run, "--device", "cpu", "--port", str(PORTS["emberlens"])]
    servers = [
        subprocess.Popen(serve),
        subprocess.Popen([sys.executable, __file__, args.run, args.onnx, args.images, "--application"]),
    ]
    try:
        time.sleep(8)
        for _ in range(args.rounds):
            for name, port in PORTS.items():
                rate, median, wrong = load(port, images, args.requests, args.clients)
                print(f"{name}: {rate:.0f} answers a second, median {1e3 * median:.0f} ms, {wrong} wrong")
    finally:
        for server in servers:
            server.terminate()


if __name__ == "__main__":
    main()
