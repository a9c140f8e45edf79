from __future__ import annotations

import pytest

from napari_unet.core.cluster import Cluster, parse_cluster


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("local", Cluster("local")),
        ("local:2", Cluster("local", (2, 2))),
        ("local:2,threads=4", Cluster("local", (2, 2), 4)),
        ("cuda", Cluster("cuda")),
        ("cuda:4", Cluster("cuda", (4, 4))),
        ("tcp://node1:8786", Cluster("scheduler", place="tcp://node1:8786")),
        ("tls://10.0.0.1:8786", Cluster("scheduler", place="tls://10.0.0.1:8786")),
        ("file:/home/me/s.json", Cluster("file", place="/home/me/s.json")),
        ("slurm", Cluster("slurm")),
        ("pbs:4", Cluster("pbs", (4, 4))),
        ("slurm:2-50", Cluster("slurm", (2, 50))),
        ("htcondor:1-8", Cluster("htcondor", (1, 8))),
        ("srun", Cluster("srun")),
        ("python:lab.dask:client", Cluster("python", place="lab.dask:client")),
    ],
)
def test_a_cluster_is_named_in_a_word(text: str, found: Cluster) -> None:
    assert parse_cluster(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "here",
        "local:0",
        "local:2-4",
        "local:2,threads=0",
        "cuda:2,threads=4",
        "slurm:8-2",
        "slurm:x",
        "slurm:2,threads=2",
        "http://node1",
        "tcp://",
        "file:",
        "python:module",
        "srun:4",
    ],
)
def test_another_word_is_told_with_those_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a cluster is one of local.*found '"):
        parse_cluster(text)
