"""The Hugging Face Hub on this machine: what its clients ask of it when models go up and come down."""

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKEN = "hf_fake"  # may write, everywhere but at "others"
READ_TOKEN = "hf_read"


class Repository:
    def __init__(self, private):
        self.private = private
        self.gated = False
        self.commits = []  # (id, message, {path: content}), oldest first
        self.tags = {}

    def files(self, revision):
        """None for a revision that there is not."""
        if revision == "main":
            return self.commits[-1][2] if self.commits else {}
        name = self.tags.get(revision, revision)
        return next((files for commit, _, files in self.commits if commit == name), None)

    def commit_of(self, revision):
        name = self.tags.get(revision, revision)
        return (self.commits[-1][0] if self.commits else "0" * 40) if revision == "main" else name


class Hub:
    """Its state, for tests to look at and to change."""

    def __init__(self):
        self.repositories = {}
        self.stored = {}  # content of large files, by their SHA-256
        self.asked = []  # "METHOD path"
        self.licences = {"mit", "cc-by-4.0", "other"}
        self.fails_at_commit = False


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def answer(self):
        path = self.path.split("?")[0]
        self.hub.asked.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for pattern, answer in ROUTES:
            if match := re.fullmatch(pattern, path):
                answer(self, body, *match.groups())
                return
        self.send(404, {"error": f"no such place: {path}"})

    def send(self, status, content, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data))} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status, code, message):
        self.send(status, {"error": message}, X_Error_Code=code, X_Error_Message=message)

    @property
    def token(self):
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def may_write(self, owner):
        if self.token not in (TOKEN, READ_TOKEN):
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif self.token == READ_TOKEN or owner == "others":
            self.refuse(403, "", "You don't have the rights to create a model under this namespace")
        else:
            return True
        return False

    def readable(self, name, revision="main"):
        """The repository, or None where the answer was given."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self.token):
            self.refuse(404 if self.token else 401, "RepoNotFound", "Repository not found")
        elif repository.gated:
            self.refuse(403, "GatedRepo", "Access to this model is restricted")
        elif repository.files(revision) is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return repository
        return None

    def validate(self, body):
        content = json.loads(body)["content"]
        licence = re.search(r"^license: (.*)$", content, re.MULTILINE)
        if licence and licence[1] not in self.hub.licences:
            errors = [{"message": f'"license" must be one of {sorted(self.hub.licences)}'}]
            self.send(400, {"errors": errors, "warnings": []})
        else:
            self.send(200, {"errors": [], "warnings": []})

    def create(self, body):
        asked = json.loads(body)
        owner = asked.get("organization") or "you"
        name = f"{owner}/{asked['name']}"
        if not self.may_write(owner):
            return
        is_new = name not in self.hub.repositories
        private = asked.get("private") or asked.get("visibility") == "private"
        self.hub.repositories.setdefault(name, Repository(bool(private)))
        host = self.headers["Host"]
        self.send(200 if is_new else 409, {"url": f"http://{host}/{name}", "name": name})

    def who(self, _):
        self.send(200, {"name": "you", "type": "user", "orgs": []})

    def preupload(self, body, name, _):
        if self.may_write(name.split("/")[0]):
            modes = [
                {"path": each["path"], "uploadMode": mode(each["path"]), "shouldIgnore": False, "oid": None}
                for each in json.loads(body)["files"]
            ]
            self.send(200, {"files": modes})

    def batch(self, body, _):
        """Where large files go, unless they are here."""
        objects = json.loads(body)["objects"]
        for each in objects:
            if each["oid"] not in self.hub.stored:
                each["actions"] = {"upload": {"href": f"http://{self.headers['Host']}/store/{each['oid']}"}}
        self.send(200, {"transfer": "basic", "objects": objects})

    def store(self, body, oid):
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.stored[oid] = body
        self.send(200, {})

    def commit(self, body, name, _):
        if self.hub.fails_at_commit:
            self.refuse(503, "", "out of order")
            return
        repository = self.hub.repositories[name]
        files, message = dict(repository.files("main")), ""
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                message = value["summary"]
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
        commit = hashlib.sha1(body).hexdigest()
        repository.commits.append((commit, message, files))
        self.send(200, {"success": True, "commitOid": commit, "commitUrl": f"http://{self.headers['Host']}/{name}"})

    def info(self, _, name, revision="main"):
        if repository := self.readable(name, revision):
            names = [{"rfilename": path} for path in repository.files(revision)]
            self.send(
                200,
                {"id": name, "sha": repository.commit_of(revision), "private": repository.private, "siblings": names},
            )

    def tree(self, _, name, revision):
        if repository := self.readable(name, revision):
            self.send(200, [describe(path, data) for path, data in repository.files(revision).items()])

    def resolve(self, _, name, revision, path):
        repository = self.readable(name, revision)
        if repository is None:
            return
        data = repository.files(revision).get(path)
        if data is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
        else:
            about = {"X_Repo_Commit": repository.commit_of(revision), "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
            self.send(200, data, Content_Type="application/octet-stream", **about)


def mode(path):
    return "lfs" if path.endswith(".safetensors") else "regular"


def describe(path, data):
    about = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
    if mode(path) == "lfs":
        about["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 100}
    return about


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = (
    ("/api/validate-yaml", Handler.validate),
    ("/api/repos/create", Handler.create),
    ("/api/whoami-v2", Handler.who),
    (f"/api/models/{NAME}", Handler.info),
    (f"/api/models/{NAME}/revision/([^/]+)", Handler.info),
    (f"/api/models/{NAME}/preupload/([^/]+)", Handler.preupload),
    (f"/api/models/{NAME}/commit/([^/]+)", Handler.commit),
    (f"/api/models/{NAME}/tree/([^/]+)", Handler.tree),
    (rf"/{NAME}\.git/info/lfs/objects/batch", Handler.batch),
    (r"/store/(\w+)", Handler.store),
    (f"/{NAME}/resolve/([^/]+)/(.+)", Handler.resolve),
)


@contextmanager
def serving():
    """The Hub and its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHub", (Handler,), {"hub": hub}))
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
