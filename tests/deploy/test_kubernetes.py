"""The manifests: every reference leads somewhere, and no pod is more than it has to be."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.config.credentials import CREDENTIALS
from common.config.settings import parse
from common.jobs.job import JobRules, parse_job
from worker.once import LEAVE_GRACE_S, RECORDING_S

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
SETTINGS = parse((FOLDER / "base/config.toml").read_text())
OVERLAYS = ("trial", "production")

needs_kubectl = pytest.mark.skipif(
    not shutil.which("kubectl"), reason="kubectl is not installed, which builds overlays"
)


def documents(folder: str) -> list[dict[str, Any]]:
    """Of a folder as they stand there, without what kustomize makes of them."""
    paths = [path for path in sorted((FOLDER / folder).glob("*.yaml")) if path.name != "kustomization.yaml"]
    return [document for path in paths for document in yaml.load_all(path.read_text(), yaml.CSafeLoader)]


ALL = [
    document for folder in ("base", "overlays/trial", "overlays/production", "job") for document in documents(folder)
]
JOB_SETTINGS = parse((FOLDER / "job/config.toml").read_text())


def pods() -> dict[str, dict[str, Any]]:
    """The pods' specifications by the name of what makes them."""
    return {
        document["metadata"]["name"]: document["spec"]["template"]
        for document in ALL
        if document["kind"] in ("Deployment", "StatefulSet", "Job")
    }


def gigabytes(quantity: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return int(number) / (1024 if unit == "Mi" else 1)


def test_every_file_of_a_folder_is_in_its_kustomization_and_the_other_way_round() -> None:
    for file in FOLDER.rglob("kustomization.yaml"):
        kustomization = yaml.safe_load(file.read_text())
        named = [*kustomization["resources"], *kustomization.get("components", [])]
        assert [name for name in named if not (file.parent / name).exists()] == [], file
        here = {path.name for path in file.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert here == {name for name in named if name.endswith(".yaml")}, file


@pytest.mark.parametrize("name", sorted(pods()))
def test_no_pod_has_privileges(name: str) -> None:
    spec = pods()[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        known = {volume["name"] for volume in spec.get("volumes", [])} | {"data"}
        assert [mount for mount in container["volumeMounts"] if mount["name"] not in known] == []


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "Service", "PodDisruptionBudget", "NetworkPolicy"])
def test_every_selector_finds_a_pod(kind: str) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods().values()]
    found = [document for document in ALL if document["kind"] == kind]
    assert found
    for document in found:
        spec = document["spec"]
        selector = spec.get("podSelector", spec.get("selector"))
        wanted = selector.get("matchLabels", {} if kind == "NetworkPolicy" else selector)
        assert any(wanted.items() <= label.items() for label in labels), document["metadata"]["name"]
        for expression in selector.get("matchExpressions", []):
            names = {label[expression["key"]] for label in labels}
            assert set(expression["values"]) <= names


def test_ports_are_named_as_their_services_have_them() -> None:
    names = {
        port["name"]
        for pod in pods().values()
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
    }
    targets = {
        port["targetPort"]
        for document in ALL
        if document["kind"] == "Service"
        for port in document["spec"].get("ports", [])
    }
    assert targets <= names
    assert SETTINGS.api.listen.endswith(":8080")
    assert SETTINGS.metrics.listen.endswith(":9464")


def test_a_worker_has_room_for_its_bots_and_time_to_end_their_calls() -> None:
    worker = pods()["poolmgr-worker"]["spec"]
    [container] = worker["containers"]
    bots, limits = SETTINGS.pool.max_workers, container["resources"]["limits"]
    assert gigabytes(limits["memory"]) >= 2 * bots
    assert int(limits["cpu"]) >= 2 * bots
    assert worker["terminationGracePeriodSeconds"] >= SETTINGS.worker.drain_timeout_s + 30
    shm = next(volume["emptyDir"] for volume in worker["volumes"] if volume["name"] == "shm")
    assert shm == {"medium": "Memory", "sizeLimit": "2Gi"}
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/dev/shm", "/tmp", SETTINGS.worker.state_dir} <= mounts
    [vm_id] = [variable for variable in container["env"] if variable["name"] == "POOLMGR_WORKER__VM_ID"]
    assert vm_id["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_a_bot_with_a_pod_of_its_own_is_begun_once_and_has_time_for_its_end() -> None:
    [job] = [document["spec"] for document in ALL if document["kind"] == "Job"]
    pod, limits = job["template"]["spec"], JOB_SETTINGS.worker
    assert (job["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    assert job["activeDeadlineSeconds"] >= limits.session_limit_s + RECORDING_S + LEAVE_GRACE_S + 300
    assert pod["terminationGracePeriodSeconds"] >= limits.leave_timeout_s + LEAVE_GRACE_S + RECORDING_S + 300
    [container] = pod["containers"]
    assert gigabytes(container["resources"]["limits"]["memory"]) * 1024 >= limits.memory_limit_mb + 1024
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/dev/shm", "/tmp", limits.state_dir} <= mounts
    once, *words = container["args"]
    assert once == "once"
    assert words[:2] == ["--job", "/etc/poolmgr-job/job.json"]
    parse_job((FOLDER / "job/job.json").read_bytes(), 0.0, JobRules.of(JOB_SETTINGS))


def test_nobody_takes_a_worker_away_by_eviction() -> None:
    budgets = {
        document["metadata"]["name"]: document["spec"] for document in ALL if document["kind"] == "PodDisruptionBudget"
    }
    assert budgets["poolmgr-worker"]["maxUnavailable"] == 0
    [worker] = [
        document
        for document in ALL
        if document["kind"] == "StatefulSet" and document["metadata"]["name"] == "poolmgr-worker"
    ]
    assert worker["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_pages_reach_neither_neighbours_nor_the_metadata_server() -> None:
    [policy] = [
        document
        for document in documents("base")
        if document["metadata"]["name"] == "poolmgr-worker" and document["kind"] == "NetworkPolicy"
    ]
    assert "ingress" not in policy["spec"]
    [rule] = policy["spec"]["egress"]
    assert {"169.254.0.0/16", "10.0.0.0/8"} <= set(rule["to"][0]["ipBlock"]["except"])
    assert {"protocol": "UDP", "port": 1, "endPort": 65535} in rule["ports"]


def test_secrets_are_credentials_and_none_is_in_the_overlay_for_production() -> None:
    trial = yaml.safe_load((FOLDER / "overlays/trial/kustomization.yaml").read_text())
    made = {
        generator["name"]: [literal.partition("=")[0] for literal in generator["literals"]]
        for generator in trial["secretGenerator"]
    }
    wanted = {
        volume["secret"]["secretName"]
        for pod in pods().values()
        for volume in pod["spec"].get("volumes", [])
        if "secret" in volume
    }
    assert wanted == {"poolmgr-manager", "poolmgr-worker", "poolmgr-once", "poolmgr-job"}
    assert all(set(made[name]) <= set(CREDENTIALS) for name in ("poolmgr-manager", "poolmgr-worker"))
    assert "secretGenerator" not in yaml.safe_load((FOLDER / "overlays/production/kustomization.yaml").read_text())


@needs_kubectl
def test_a_job_is_built_whole() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", FOLDER / "job"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    kinds = sorted(document["kind"] for document in yaml.safe_load_all(done.stdout))
    assert kinds == ["ConfigMap", "Job", "NetworkPolicy", "Secret"]


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_built_whole(overlay: str) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", FOLDER / "overlays" / overlay], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    kinds = [document["kind"] for document in built]
    assert kinds.count("Deployment") == 1
    assert ("ServiceMonitor" in kinds) is (overlay == "production")
    assert {document["metadata"].get("namespace", "poolmgr") for document in built} == {"poolmgr"}
    # A changed configuration has another name, so that its pods are made anew.
    [config] = [document["metadata"]["name"] for document in built if document["kind"] == "ConfigMap"]
    assert re.fullmatch(r"poolmgr-[0-9a-z]+", config)
    assert done.stdout.count(f"name: {config}\n") == 3


@needs_kubectl
def test_only_with_its_component_may_a_manager_change_how_many_workers_there_are(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    overlay.mkdir()
    kubernetes = "../kubernetes"
    (overlay / "kustomization.yaml").write_text(
        f"resources: [{kubernetes}/overlays/production]\ncomponents: [{kubernetes}/components/scaling]\n"
        "namespace: poolmgr\n"
    )
    built = subprocess.run(
        ["kubectl", "kustomize", overlay], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    made = {(document["kind"], document["metadata"]["name"]): document for document in yaml.safe_load_all(built)}
    pod = made["Deployment", "poolmgr-manager"]["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("poolmgr-manager", True)
    assert made["StatefulSet", "poolmgr-worker"]["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    (rule,) = made["Role", "poolmgr-manager"]["rules"]
    assert rule == {
        "apiGroups": ["apps"],
        "resources": ["statefulsets/scale"],
        "resourceNames": [SETTINGS.scaling.kubernetes_statefulset],
        "verbs": ["get", "patch"],
    }
    binding = made["RoleBinding", "poolmgr-manager"]
    assert [(each["name"], each["namespace"]) for each in binding["subjects"]] == [("poolmgr-manager", "poolmgr")]
    assert made["StatefulSet", "poolmgr-worker"]["spec"]["podManagementPolicy"] == "Parallel"
    (vm_id,) = (
        variable["valueFrom"]["fieldRef"]["fieldPath"]
        for variable in made["StatefulSet", "poolmgr-worker"]["spec"]["template"]["spec"]["containers"][0]["env"]
        if variable["name"] == "POOLMGR_WORKER__VM_ID"
    )
    assert vm_id == "metadata.name"  # by which a VM is known to be the last
