"""The ready scripts of jobs/: manifests fit their schemas, every launcher starts the same tested command, and exit codes mean the same."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from absl import flags

from attention_jax.system import signals
from experiments import run
from tests.experiments.command import flags_of

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed: pip install -e '.[dev]'")

ROOT = Path(__file__).resolve().parent.parent
JOBS = ROOT / "jobs"
SHELL = sorted(path for path in JOBS.iterdir() if path.suffix in (".sh", ".sbatch"))
KUBERNETES = "1.33"

JOBSET = {
    "apiVersion": None,
    "kind": None,
    "metadata": {"name": None},
    "spec": {
        "network": {"enableDNSHostnames": None, "subdomain": None, "publishNotReadyAddresses": None},
        "successPolicy": {"operator": None, "targetReplicatedJobs": None},
        "failurePolicy": {
            "maxRestarts": None,
            "restartStrategy": None,
            "rules": [{"name": None, "action": None, "onJobFailureReasons": None, "targetReplicatedJobs": None}],
        },
        "replicatedJobs": [{"name": None, "groupName": None, "replicas": None, "dependsOn": None, "template": None}],
    },
}
"""The fields of a JobSet, jobset.x-k8s.io/v1alpha2, as its documentation has them; `template` is that of a Job."""


def manifest(name: str) -> dict:
    return yaml.safe_load((JOBS / name).read_text())


def unknown(found: object, fields: object, path: str = "") -> list[str]:
    """Paths in `found` that `fields` does not have."""
    if isinstance(fields, list):
        return [wrong for i, each in enumerate(found) for wrong in unknown(each, fields[0], f"{path}[{i}]")]
    if isinstance(fields, dict):
        own = [f"{path}.{name}" for name in found if name not in fields]
        return own + [wrong for name in found if name in fields for wrong in unknown(found[name], fields[name], f"{path}.{name}")]
    return []


def job_of(jobset: dict) -> dict:
    """The Job that a JobSet makes of its one template."""
    (replicated,) = jobset["spec"]["replicatedJobs"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": replicated["name"]}, **replicated["template"]}


MANIFESTS = {
    "kubernetes_indexed.yaml": lambda: manifest("kubernetes_indexed.yaml"),
    "kubernetes_jobset.yaml": lambda: job_of(manifest("kubernetes_jobset.yaml")),
}


@pytest.fixture(params=MANIFESTS)
def job(request) -> dict:
    """The Job of each manifest."""
    return MANIFESTS[request.param]()


def container(job: dict) -> dict:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found


def parsed(command: list[str]) -> dict:
    """The flags that a command gives to experiments.run, checked by it, {name: value}."""
    at = command.index("attention_jax.experiments.run")
    assert command[at - 1] == "-m" and command[at - 2].endswith("python")
    with flags_of(*command[at + 1 :]) as rest:
        assert rest == ["run"]
        claim, runs = run.planned(run.EXPERIMENT.value or "")
        given = {flag.name: flag.value for flag in flags.FLAGS.get_flags_for_module(run.__name__) if flag.present}
    return given | {"claim": claim.__name__, "runs": len(runs)}


def test_manifests_fit_the_schema_of_kubernetes(job):
    assert kubernetes_validate.validate(job, KUBERNETES, strict=True) == KUBERNETES
    job["spec"]["podFailurePolicy"]["rules"][0]["onExitCode"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="onExitCode"):
        kubernetes_validate.validate(job, KUBERNETES, strict=True)


def test_the_jobset_has_only_fields_of_a_jobset():
    jobset = manifest("kubernetes_jobset.yaml")
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert unknown(jobset, JOBSET) == []
    assert unknown({"spec": {"replicatedJobs": [{}, {"replica": 1}]}}, JOBSET) == [".spec.replicatedJobs[1].replica"]
    (rule,) = jobset["spec"]["failurePolicy"]["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts" and rule["onJobFailureReasons"] == ["PodFailurePolicy"]


def test_pods_are_not_restarted_in_place_and_have_time_to_save(job):
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy needs it
    assert pod["terminationGracePeriodSeconds"] > signals.GRACE + 2 * signals.TICK
    assert {rule["onExitCodes"]["containerName"] for rule in job["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in rule} == {"run"}
    mounts = {mount["name"]: mount["mountPath"] for mount in container(job)["volumeMounts"]}
    assert mounts == {"runs": "/runs"} and [volume["name"] for volume in pod["volumes"]] == ["runs"]


def actions(job: dict) -> dict:
    """{exit code: action} of a podFailurePolicy."""
    rules = [rule for rule in job["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert all(rule["onExitCodes"]["operator"] == "In" for rule in rules)
    return {code: rule["action"] for rule in rules for code in rule["onExitCodes"]["values"]}


def test_exit_codes_of_a_sweep():
    assert actions(MANIFESTS["kubernetes_indexed.yaml"]()) == {signals.STOPPED: "Ignore", 2: "FailJob", 1: "FailIndex"}


def test_a_sweep_has_an_index_for_each_run():
    job = MANIFESTS["kubernetes_indexed.yaml"]()
    command = container(job)["command"] + container(job)["args"]
    assert "--index=$(JOB_COMPLETION_INDEX)" in command
    given = parsed([word.replace("$(JOB_COMPLETION_INDEX)", "17") for word in command])
    assert job["spec"]["completionMode"] == "Indexed" and job["spec"]["completions"] == given["runs"] == 44
    assert (given["claim"], given["preset"], given["workdir"]) == ("experiments.bottleneck", "full", "/runs")


def test_a_run_over_several_hosts_finds_its_first_process():
    jobset = manifest("kubernetes_jobset.yaml")
    job, name = job_of(jobset), jobset["metadata"]["name"]
    command = container(job)["command"] + container(job)["args"]
    assert "--process=$(JOB_COMPLETION_INDEX)" in command
    given = parsed([word.replace("$(JOB_COMPLETION_INDEX)", "3") for word in command])
    hosts = job["spec"]["completions"]
    assert job["spec"]["parallelism"] == given["processes"] == hosts and given["index"] < given["runs"]
    host, port = given["coordinator"].split(":")
    assert host == f"{name}-{jobset['spec']['replicatedJobs'][0]['name']}-0-0.{name}"
    assert int(port) == container(job)["ports"][0]["containerPort"]
    assert job["spec"]["backoffLimit"] == 0 and actions(job) == {signals.STOPPED: "FailJob"}


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_scripts_are_bash(path):
    assert subprocess.run(["bash", "-n", path], capture_output=True, text=True).stderr == ""


GCLOUD = """#!%s
import json, os, sys
with open(os.environ["RECORD"], "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if "describe" in sys.argv:
    print(os.environ["STATE"])
"""


@pytest.fixture
def tpu(tmp_path):
    """Calls jobs/tpu_pod.sh with a stand-in for gcloud; returns its exit status and the calls of gcloud."""
    (tmp_path / "gcloud").write_text(GCLOUD % sys.executable)
    (tmp_path / "gcloud").chmod(0o755)
    record = tmp_path / "record"

    def call(*arguments: str, state: str = "ACTIVE") -> tuple[int, list[list[str]]]:
        record.write_text("")
        own = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "RECORD": str(record),
            "STATE": state,
            "NAME": "slice",
            "WORKDIR": "/mnt/my runs",
        }
        done = subprocess.run([JOBS / "tpu_pod.sh", *arguments], cwd=ROOT, env=os.environ | own, capture_output=True, timeout=60)
        return done.returncode, [json.loads(line) for line in record.read_text().splitlines()]

    return call


def test_a_tpu_slice_is_asked_for_and_waited_for(tpu):
    status, calls = tpu("create")
    assert status == 0 and [call[:4] for call in calls] == [
        ["compute", "tpus", "queued-resources", verb] for verb in ("create", "describe")
    ]
    assert calls[0][4] == "slice" and "--node-id=slice" in calls[0]
    assert tpu("create", state="FAILED")[0] == 1
    assert tpu("delete")[1][0][:5] == ["compute", "tpus", "queued-resources", "delete", "slice"]
    assert tpu("anything else")[0] == 2 and tpu()[0] == 2


def test_all_hosts_of_a_tpu_slice_start_the_same_command(tpu, tmp_path):
    status, (call,) = tpu("run", "--set=model.cell=lstm")
    assert status == 0 and call[:5] == ["compute", "tpus", "tpu-vm", "ssh", "slice"] and "--worker=all" in call
    (line,) = (word.removeprefix("--command=") for word in call if word.startswith("--command="))
    before, _, command = line.partition(" && ")
    words = subprocess.run(["bash", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True).stdout.splitlines()
    given = parsed(words)
    assert before == "cd attention_jax" and given["distributed"] and given["workdir"] == "/mnt/my runs"
    assert (given["claim"], given["preset"], given["set"]) == ("experiments.bottleneck", "full", ["model.cell=lstm"])


def test_the_project_is_installed_on_all_hosts(tpu):
    status, (copy, install) = tpu("install")
    assert status == 0 and copy[:4] == ["compute", "tpus", "tpu-vm", "scp"] and copy[5] == "slice:attention_jax.tar.gz"
    assert "--worker=all" in copy and "--worker=all" in install and not Path(copy[4]).exists()
    (line,) = (word.removeprefix("--command=") for word in install if word.startswith("--command="))
    assert subprocess.run(["bash", "-n", "-c", line], capture_output=True, text=True).stderr == ""


def module(name: str, monkeypatch):
    """A file of jobs/local_slurm/, which is no package."""
    monkeypatch.syspath_prepend(str(JOBS / "local_slurm"))
    spec = importlib.util.spec_from_file_location(name, JOBS / "local_slurm" / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, loaded)
    spec.loader.exec_module(loaded)
    return loaded


def test_no_cluster_without_root_or_beside_another(tmp_path, monkeypatch, capsys):
    cluster = module("cluster", monkeypatch)
    prove = module("prove", monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(prove.signal, "signal", lambda *arguments: None)
    assert prove.main() == prove.UNAVAILABLE
    assert capsys.readouterr().out == "no Slurm here, so nothing was proved: slurmd and apt-get need root\n"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "slurm.conf").touch()
    monkeypatch.setattr(cluster, "SYSTEM", (tmp_path / "slurm.conf",))
    with pytest.raises(cluster.Unavailable, match="this machine belongs to a Slurm already"):
        cluster.check()
    monkeypatch.setattr(cluster, "SYSTEM", ())
    monkeypatch.setattr(cluster, "_lives", lambda process, name: name == "slurmd")
    with pytest.raises(cluster.Unavailable, match="a slurmd runs already on this machine"):
        cluster.check()


def test_packages_that_cannot_be_had_are_one_line(tmp_path, monkeypatch):
    cluster = module("cluster", monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(cluster.Unavailable, match=r"slurmctld, .* missing, and there is no apt-get"):
        cluster.install()
    (tmp_path / "apt-get").write_text('#!/bin/sh\necho "E: first" >&2\necho "E: Unable to locate package" >&2\nexit 100\n')
    (tmp_path / "apt-get").chmod(0o755)
    with pytest.raises(cluster.Unavailable, match=r"^apt-get update failed: E: Unable to locate package$"):
        cluster.install()


def test_a_process_is_known_by_its_number_and_name(monkeypatch):
    cluster = module("cluster", monkeypatch)
    own = Path("/proc/self/comm").read_text().strip()
    assert cluster._lives(os.getpid(), own) and not cluster._lives(os.getpid(), "slurmd")
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie
        assert not cluster._lives(child.pid, "true")
    assert not cluster._lives(child.pid, "true")
