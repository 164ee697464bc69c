import pytest

from pipeline.common.errors import BadInput


def test_it_opens_to_others_only_with_a_password(settings, monkeypatch):
    monkeypatch.delenv("PIPELINE_PASSWORD", raising=False)
    for host in ("0.0.0.0", "::", "192.168.1.7", "birds.example.org"):
        with pytest.raises(BadInput, match="needs a password: set PIPELINE_PASSWORD"):
            settings(host=host)
    with pytest.raises(BadInput, match="at least 8 letters"):
        settings(host="0.0.0.0", password="bird")
    monkeypatch.setenv("PIPELINE_PASSWORD", "a long one")
    assert settings(host="0.0.0.0").password == "a long one"
    for host in ("localhost", "127.0.0.1", "::1"):
        assert settings(host=host, password="").password is None


def test_folders_have_names_and_must_be_there(settings, tmp_path):
    one, other = tmp_path / "a" / "birds", tmp_path / "b" / "birds"
    one.mkdir(parents=True)
    other.mkdir(parents=True)
    assert settings(folders=[str(one), str(other), str(one)]).folders == {"birds": one, "birds (2)": other}
    with pytest.raises(BadInput, match="there is no such folder"):
        settings(folders=[str(tmp_path / "c")])
