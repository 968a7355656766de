"""What is carried over of this machine's way to package servers."""

from pathlib import Path

from lab.systemd import host


def test_only_debian_12s_own_sources_are_taken_and_the_suite_itself_comes_first() -> None:
    lines = [
        "bookworm-updates http://mirror.test/debian/ main Debian",
        "bookworm http://mirror.test/debian/ main Debian",
        "bookworm http://mirror.test/debian/ main Debian",
        "bookworm http://mirror.test/debian/ contrib Debian",
        "bookworm http://mirror.test/tools/ main Tools",
        "bookworm-security http://mirror.test/security/ main Debian",
        "trixie http://mirror.test/debian/ main Debian",
        "stable",
    ]
    assert [str(source) for source in host.read_sources(lines)] == [
        "deb http://mirror.test/debian/ bookworm main",
        "deb http://mirror.test/security/ bookworm-security main",
        "deb http://mirror.test/debian/ bookworm-updates main",
    ]


def test_files_that_a_setting_names_are_bound_and_named_anew(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    index = tmp_path / "index" / "simple"
    for folder in (wheels, index):
        folder.mkdir(parents=True)
    carried = host.carry(
        {
            "PIP_FIND_LINKS": f"{wheels} /nowhere/at/all",
            "PIP_EXTRA_INDEX_URL": f"https://user@mirror.test{wheels} file://{index}",
            "https_proxy": "http://proxy.test:3128",
            "PIP_TARGET": str(wheels),
            "HOME": str(tmp_path),
        }
    )
    assert carried.environment == {
        "PIP_FIND_LINKS": f"/mnt/host{wheels} /nowhere/at/all",
        "PIP_EXTRA_INDEX_URL": f"https://user@mirror.test{wheels} file:///mnt/host{index}",
        "https_proxy": "http://proxy.test:3128",
    }
    assert carried.binds == {str(wheels): f"/mnt/host{wheels}", str(index.parent): f"/mnt/host{index.parent}"}


def test_apts_proxies_are_told_to_other_programs() -> None:
    options = 'Acquire::http::Proxy "http://proxy.test:3142";\nAcquire::https::Proxy "DIRECT";\n'
    assert host.proxies_of_apt(options) == {"http_proxy": "http://proxy.test:3142"}
