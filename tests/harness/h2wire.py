"""One HTTP/2 request on a connection of its own, frame by frame: what NGINX answers while it refuses
the rest of a body is an answer, a reset or both, and a client library shows only one of them."""
import socket
import time

import h2.config
import h2.connection
import h2.events

CHUNK = 16384


class Answer:
    def __init__(self):
        self.status, self.headers, self.body = None, {}, b""
        self.ended = False      # the answer has its end
        self.reset = None       # error code of a reset of the stream
        self.gone = False       # the connection was closed, or told to go away


def _take(conn, events, answer):
    for event in events:
        if isinstance(event, h2.events.ResponseReceived):
            fields = {k.decode(): v.decode() for k, v in event.headers}
            answer.status = int(fields.pop(":status"))
            answer.headers = fields
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            answer.gone = True


def post(port, path, body, headers, say_length=True, seconds=10):
    """Sends as much of the body as is taken, until the stream is over. The Answer."""
    answer, left = Answer(), memoryview(body)
    conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True,
                                                               header_encoding=None))
    fields = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "t")]
    fields += [(k.lower(), v) for k, v in headers.items()]
    if say_length:
        fields.append(("content-length", str(len(body))))
    until = time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as s:
        conn.initiate_connection()
        conn.send_headers(1, fields)
        s.sendall(conn.data_to_send())
        while not (answer.ended or answer.reset is not None or answer.gone):
            room = min(len(left), CHUNK, conn.local_flow_control_window(1))
            if room:
                conn.send_data(1, left[:room].tobytes(), end_stream=room == len(left))
                left = left[room:]
            try:
                s.sendall(conn.data_to_send())
                s.settimeout(0.01 if len(left) and room else max(until - time.monotonic(), 0.01))
                data = s.recv(65536)
                answer.gone = not data
                _take(conn, conn.receive_data(data), answer)
            except socket.timeout:
                if time.monotonic() > until:
                    raise TimeoutError(f"no end of the answer within {seconds} s") from None
            except OSError:
                answer.gone = True
    return answer
