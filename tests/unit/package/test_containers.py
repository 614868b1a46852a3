"""docker/: what is written there keeps its own rules; that it runs is `make compose-demo`, with an engine."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import images
import layers
from containers import demo, steps
from containers.engine import Failed
from fedrepay.server.front import proxies

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
MANIFESTS = sorted((ROOT / "docker/kubernetes").glob("*.yaml"))


def dockerfile_faults(text: str) -> list[str]:
    """What an image must not be made by."""
    lines = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    stages: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("FROM "):
            _, base, _, name = line.split()
            if base != "${BASE}" and base not in stages:
                return [f"another base: {base}"]
            stages[name] = list(stages.get(base, []))
        elif line.strip() and not line.startswith("ARG"):
            stages[name].append(line)
    found = [line for line in lines if re.search(r"\bADD\b|apt-get|curl |wget |https?://(?!127\.)", line)]
    hashed = ("--no-index", "--require-hashes", "--no-cache-dir")
    installs = re.findall(r"pip [^&]*\binstall\b[^&]*", "\n".join(lines))
    found += [each for each in installs if not all(option in each for option in hashed)]
    for role in ("coordinator", "member"):
        steps = stages[role]
        users = [line for line in steps if line.startswith("USER")]
        if users != ["USER 10001:10001"] or any(
            line.startswith("RUN") for line in steps[steps.index(users[0]) :]
        ):
            found.append(f"{role}: not uid 10001 to the end")
        if any("pip" in line and "install" in line and "-m pip" in line for line in steps):
            found.append(f"{role}: pip in the last stage")
        if not any("rm -rf" in line and "import pip" in line for line in steps):
            found.append(f"{role}: the base's pip stays")
        if not any(line.startswith("HEALTHCHECK") for line in steps):
            found.append(f"{role}: nobody asks how it is")
        if 'ENTRYPOINT ["fedrepay"]' not in steps:
            found.append(f"{role}: a shell stands between SIGTERM and it")
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("--no-index --find-links /wheels --require-hashes", "--find-links /wheels"),
        ("USER 10001:10001", "USER 0"),
        ('ENTRYPOINT ["fedrepay"]', "ENTRYPOINT fedrepay"),
        ("COPY --from=build /opt/member /opt/member", "USER 0\nRUN python -m pip install x"),
        ("FROM slim AS member", "FROM debian:latest AS member"),
        ("COPY wheels /wheels", "ADD https://files.example/x /wheels"),
        ("    && ! python -c 'import pip' 2>/dev/null \\\n", ""),
    ],
)
def test_dockerfile_keeps_its_rules_and_a_broken_one_is_noticed(before: str, after: str) -> None:
    assert dockerfile_faults(DOCKERFILE) == []
    assert before in DOCKERFILE
    assert dockerfile_faults(DOCKERFILE.replace(before, after))


def service_faults(services: dict[str, Any]) -> Iterator[str]:
    for name, each in services.items():
        if each.get("read_only") is not True or each.get("cap_drop") != ["ALL"] or "cap_add" in each:
            yield f"{name}: root or capabilities"
        if each.get("security_opt") != ["no-new-privileges:true"] or each.get("privileged"):
            yield f"{name}: may gain privileges"
        if (
            not each.get("init")
            or each.get("restart") != "unless-stopped"
            or not each.get("stop_grace_period")
        ):
            yield f"{name}: children, restart, end"
        if "ports" in each and name != "place":
            yield f"{name}: a public port"
        text = str(each.get("environment", ""))
        if re.search(r"(?i)password|secret|token|://[^/@]+:[^/@]+@", text):
            yield f"{name}: a secret in the environment"
    if len(services["place"]["ports"]) != 1:
        yield "not one public port"


def test_compose_file_is_hardened_and_a_softened_one_is_noticed() -> None:
    text = (ROOT / "docker/compose.yaml").read_text()
    services = yaml.safe_load(text)["services"]
    assert list(service_faults(services)) == []
    assert {"coordinator", "postgres", "front", "bank-a", "bank-b", "bank-c"} < set(services)
    softened = (
        ("read_only: true", "read_only: false"),
        ("cap_drop: [ALL]", "cap_drop: []"),
        ('security_opt: ["no-new-privileges:true"]', "privileged: true"),
        ("  bank-a:\n", '  bank-a:\n    ports: ["9:9"]\n'),
        ("POSTGRES_USER: fedrepay", "POSTGRES_PASSWORD: fedrepay"),
        ("init: true", "init: false"),
    )
    for before, after in softened:
        assert before in text
        assert list(service_faults(yaml.safe_load(text.replace(before, after, 1))["services"])), after


def pod_faults(manifest: dict[str, Any]) -> Iterator[str]:
    """What the schema allows and we do not."""
    pod = manifest["spec"]["template"]["spec"]
    whole = pod["securityContext"]
    if not whole.get("runAsNonRoot") or whole.get("runAsUser") != 10001:
        yield "user"
    if (
        whole.get("fsGroupChangePolicy") != "OnRootMismatch"
        or pod.get("automountServiceAccountToken") is not False
    ):
        yield "rights of keys, or a token that nobody needs"
    if manifest["spec"]["replicas"] != 1 or manifest["spec"]["strategy"] != {"type": "Recreate"}:
        yield "two of one folder"
    for each in (*pod["initContainers"], *pod["containers"]):
        rights = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        if each["securityContext"] != rights or "memory" not in each["resources"]["limits"]:
            yield f"{each['name']}: rights or limits"
    if any(not {"livenessProbe", "readinessProbe"} & set(each) for each in pod["containers"]):
        yield "nobody asks how it is"


def test_manifests_fit_the_schema_and_what_does_not_is_noticed() -> None:
    assert len(MANIFESTS) == 2
    for path in MANIFESTS:
        for each in yaml.safe_load_all(path.read_text()):
            kubernetes_validate.validate(each, "1.37", strict=True)
            if each["kind"] == "Deployment":
                assert list(pod_faults(each)) == []
                each["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {}
                assert list(pod_faults(each))
                each["spec"]["template"]["spec"]["readOnly"] = True
                with pytest.raises(kubernetes_validate.ValidationError):
                    kubernetes_validate.validate(each, "1.37", strict=True)


def test_nothing_of_a_member_can_be_called() -> None:
    kinds = {each["kind"]: each for each in yaml.safe_load_all(MANIFESTS[1].read_text())}
    assert "Service" not in kinds
    assert kinds["NetworkPolicy"]["spec"]["ingress"] == []
    assert "ports" not in str(kinds["Deployment"])


def test_nginx_of_the_manifest_is_what_init_writes() -> None:
    maps = [each for each in yaml.safe_load_all(MANIFESTS[0].read_text()) if each["kind"] == "ConfigMap"]
    written = proxies.texts(8443, 18443, 50051)["nginx.conf"]
    assert maps[0]["data"]["nginx.conf"].rstrip() == written.rstrip()


def test_locks_hold_all_that_is_asked_for_at_the_versions_that_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tested = dict(_pins((ROOT / "constraints.txt").read_text()))
    extras = project["optional-dependencies"]
    for role in images.ROLES:
        text = (ROOT / f"docker/locks/{role}.txt").read_text()
        pinned = dict(_pins(text))
        asked = [*project["dependencies"], *(each for extra in images.EXTRAS[role] for each in extras[extra])]
        names = {re.split(r"[\[<>=~!; ]", each)[0].lower().replace("_", "-") for each in asked}
        assert names - {"fedrepay"} <= set(pinned), "python docker/images.py lock"
        assert {name: tested.get(name) for name in pinned} == pinned, "python docker/images.py lock"
        assert all("sha256:" in part for part in re.split(r"\n(?=\S)", text.strip())), "a line without a hash"
        assert "://" not in text


def _pins(text: str) -> list[tuple[str, str]]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    return [(name.lower().replace("_", "-"), version) for name, version in found]


def test_scan_knows_secrets_and_installers() -> None:
    key = generate_private_key(SECP256R1())
    for form in (PrivateFormat.PKCS8, PrivateFormat.OpenSSH, PrivateFormat.TraditionalOpenSSL):
        text = key.private_bytes(Encoding.PEM, form, NoEncryption())
        assert layers.looks_like("srv/notes.txt", text)
        assert layers.looks_like("srv/notes.txt", text[: len(text) // 3]) == []
    assert layers.looks_like("var/lib/fedrepay/member/identity.key", b"")
    assert layers.looks_like("root/.netrc", b"")
    assert layers.looks_like("etc/x", b"fedrepay1." + b"A" * 80)
    assert layers.looks_like("configuration", b'"Env":["PIP_INDEX_URL=https://me:hunter2@wheels.example/"]')
    for harmless in ("usr/bin/python3", "opt/member/lib/python3.11/site-packages/fedrepay/shared/keys.py"):
        assert layers.looks_like(harmless, b"-----BEGIN PRIVATE KEY-----") == []
    programs = (
        "usr/bin/pip3",
        "usr/local/bin/uv",
        "usr/lib/python3/dist-packages/pip",
        "usr/bin/gcc-12",
        "usr/bin/make",
    )
    assert all(layers.INSTALLERS.search(each) for each in programs)
    assert not layers.INSTALLERS.search("usr/bin/python3.11")


def test_bundle_that_is_not_as_it_was_signed_is_noticed(tmp_path: Path) -> None:
    for name in ("key", "other"):
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(made, check=True)
    public = (tmp_path / "key.pub").read_text()
    folder = tmp_path / "bundle"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels/a.whl").write_bytes(b"wheel")
    images.sign(folder, tmp_path / "key")
    images.check(folder, public)
    with pytest.raises(SystemExit, match="ssh-keygen"):
        images.check(folder, (tmp_path / "other.pub").read_text())
    (folder / "more").write_bytes(b"")
    with pytest.raises(SystemExit, match="more"):
        images.check(folder, public)
    (folder / "more").unlink()
    (folder / "wheels/a.whl").write_bytes(b"wheeL")
    with pytest.raises(SystemExit, match="sha256sum"):
        images.check(folder, public)


def test_demo_tells_members_with_different_releases() -> None:
    held = dict.fromkeys(steps.BANKS, ("a" * 64, 1001))
    assert demo.same(held) == "a" * 64
    for wrong in (
        held | {"bank-c": ("b" * 64, 1001)},
        held | {"bank-c": ("a" * 64, 1)},
        {"bank-a": ("a" * 64, 5)},
    ):
        with pytest.raises(Failed):
            demo.same(wrong)
