"""A stand-in for SPIRE's agent: the SPIFFE Workload API, by the messages of SPIFFE's own Python library."""

import os
import subprocess
import sys
from pathlib import Path

from support.needs import need
from support.programs.sidecar import eventually

LIBRARIES = Path(sys.prefix) / "spiffe"
PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import grpc
from spiffe._proto import workload_pb2, workload_pb2_grpc

socket, folder = sys.argv[1], Path(sys.argv[2])

class Api(workload_pb2_grpc.SpiffeWorkloadAPIServicer):
    def FetchJWTSVID(self, request, context):
        if ("workload.spiffe.io", "true") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        found = folder / "-".join(request.audience)
        if not found.exists():
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
        svid = workload_pb2.JWTSVID(spiffe_id="spiffe://example.org/web", svid=found.read_text(), hint="internal")
        return workload_pb2.JWTSVIDResponse(svids=[svid, svid])

server = grpc.server(ThreadPoolExecutor(2))
workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server(Api(), server)
server.add_insecure_port(f"unix:{socket}")
server.start()
server.wait_for_termination()
"""


class WorkloadApi:
    """It issues the JWT in the file that has the name of the audience."""

    def __init__(self, folder):
        need((LIBRARIES / "grpc").exists(), "needs grpcio: make .venv/spiffe")
        self.svids, self.socket = folder / "svids", folder / "workload.sock"
        self.svids.mkdir()
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(LIBRARIES)}
        command = [sys.executable, "-c", PROGRAM, self.socket, self.svids]
        self._process = subprocess.Popen(command, env=environ)
        eventually(self.socket.exists, "the Workload API")

    @property
    def variables(self):
        return {"SPIFFE_ENDPOINT_SOCKET": f"unix://{self.socket}", "PYTHONPATH": str(LIBRARIES)}

    def close(self):
        self._process.kill()
        self._process.wait()
