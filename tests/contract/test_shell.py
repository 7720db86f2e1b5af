"""What follows from the command table: completions in real shells, the man page, make install."""
import json
import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "build/tallygate"


def run(*args, **kw):
    return subprocess.run([str(BINARY), *args], capture_output=True, text=True, timeout=60,
                          cwd=kw.pop("cwd", ROOT), **kw)


def commands():
    listed = run("--help").stdout.split("commands:")[1].split("\n\n")[0]
    return re.findall(r"^  (\w+) ", listed, re.M)


def forms():
    """(words, options, text) of every form of every command, read independently of the binary."""
    out = []
    for command in commands():
        text = run(command, "--help").stdout.split("\n\n")[0]
        text = re.sub(r"^(usage:|      ) tallygate ", "@", text, flags=re.M)
        for form in (" ".join(f.split()) for f in text.split("@") if f.strip()):
            words = re.match(r"[a-z]+( [a-z]+)?", form).group(0).split()
            out.append((words, re.findall(r"(?<![\w-])(--[a-z-]+|-c)\b", form), form))
    return out


FORMS = forms()


def test_the_table_is_read():
    assert len(FORMS) > 15
    assert (["audit", "verify"], ["-c", "--public-key", "--json"]) in [(w, o) for w, o, _ in FORMS]


@pytest.mark.parametrize("words,options,text", FORMS, ids=[" ".join(f[0]) for f in FORMS])
def test_every_option_of_the_usage_is_understood(words, options, text, tmp_path):
    for option in options:
        value = re.search(re.escape(option) + r" (\S+?)\]?( |$)", text)
        takes = value and not re.search(re.escape(option) + r"\]", text) and \
            not value.group(1).startswith(("[", "-"))
        args = [*words, option] + (["x"] if takes else [])
        if option != "-c" and "-c" in options:
            args += ["-c", "/nonexistent/t.yaml"]
        done = run(*args, cwd=tmp_path)
        assert f"`{option}` is not understood" not in done.stderr, args
        assert done.returncode in (0, 1, 2)


@pytest.mark.parametrize("words,options,text", FORMS, ids=[" ".join(f[0]) for f in FORMS])
def test_every_form_has_help_and_refuses_what_it_does_not_know(words, options, text, tmp_path):
    done = run(*words, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: tallygate")
    done = run(*words, "--no-such-option", cwd=tmp_path)
    assert done.returncode == 2 and "usage: tallygate" in done.stderr
    if "-c" in options:
        done = run(*words, "-c", cwd=tmp_path)
        assert done.returncode == 2 and "usage: tallygate" in done.stderr


# ---- bash ----

def bash(*words):
    """What bash offers for the last word."""
    script = ('source <("$0" completion bash); COMP_WORDS=("${@}"); COMP_CWORD=$(($# - 1)); '
              '_tallygate; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, str(BINARY), "tallygate", *words],
                          capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes_commands_verbs_options_and_values():
    assert bash("") >= set(commands())
    assert bash("ba") == {"backup"}
    assert bash("exceptions", "") >= {"list", "show"}
    assert bash("exceptions", "list", "--st") == {"--state"}
    assert bash("exceptions", "list", "--state", "") == \
        {"open", "assigned", "replayed", "edited", "discarded", "auto_closed", "resolved"}
    assert bash("token", "keys", "--alg", "E") == {"ES256", "EdDSA"}
    assert bash("backup", "--to", "conf/tallygate") == {"conf/tallygate.yaml"}
    assert bash("serve", "--config", "conf/tallygate") == {"conf/tallygate.yaml"}
    assert bash("rules", "test", "lua_r") == {"lua_rules"}
    assert bash("backup", "--to", "x", "nothing-like-this") == set()


@pytest.mark.parametrize("words,options,text", FORMS, ids=[" ".join(f[0]) for f in FORMS])
def test_bash_offers_every_option(words, options, text):
    if options:
        assert bash(*words, "-") >= set(options) | {"--help"}


# ---- zsh ----

class Zsh:
    """An interactive zsh on a terminal of its own."""

    def __init__(self, directory):
        pid, self.fd = pty.fork()
        if pid == 0:
            os.chdir(ROOT)
            os.environ.update(ZDOTDIR=str(directory), TERM="dumb", PS1="READY>", COLUMNS="200")
            os.execvp("zsh", ["zsh", "-f", "-i"])
        self.pid, self.seen = pid, ""
        self.send("PS1='READY>'; unsetopt zle_bracketed_paste 2>/dev/null; "
                  "autoload -Uz compinit; compinit -u -d " + str(directory / "dump") +
                  f"; source <({BINARY} completion zsh); LISTMAX=1000; bindkey '^I' complete-word; "
                  "setopt auto_list no_beep; PROMPT_EOL_MARK=; print LOADED\n")
        self.until("LOADED\r\n")

    def send(self, text):
        os.write(self.fd, text.encode())

    def until(self, words, seconds=20):
        end = time.monotonic() + seconds
        while words not in self.seen:
            assert time.monotonic() < end, f"{words!r} not in {self.seen!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
        out, self.seen = self.seen, ""
        return out

    def end(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


@pytest.fixture(scope="module")
def zsh(tmp_path_factory):
    z = Zsh(tmp_path_factory.mktemp("zsh"))
    yield z
    z.end()


@pytest.mark.parametrize("typed,want", [
    ("tallygate bac", "tallygate backup"), ("tallygate exceptions li", "tallygate exceptions list"),
    ("tallygate exceptions list --sta", "tallygate exceptions list --state"),
    ("tallygate exceptions list --state auto", "tallygate exceptions list --state auto_closed"),
    ("tallygate token keys --alg Ed", "tallygate token keys --alg EdDSA"),
    ("tallygate backup --to conf/tallyg", "tallygate backup --to conf/tallygate.yaml"),
    ("tallygate serve --conf", "tallygate serve --config")])
def test_zsh_completes(zsh, typed, want):
    zsh.send(typed + "\t")
    zsh.send("\x01print -r -- 'GOT:\x05:END'\n")
    out = zsh.until(":END\r\n")
    got = re.findall(r"^GOT:(.*):END\r?$", out, re.M)
    assert got and got[-1].rstrip() == want, out


# ---- the man page and make install ----

def test_the_man_page_is_well_formed_and_whole(tmp_path):
    page = subprocess.run(["/usr/bin/python3", str(ROOT / "docs/man.py"), "1.2.3"],
                          capture_output=True, text=True, check=True).stdout
    (tmp_path / "tallygate.1").write_text(page)
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-P-cbou", str(tmp_path / "tallygate.1")],
                          capture_output=True, text=True, check=True)
    assert done.stderr == ""
    text = re.sub(r"\s+", " ", done.stdout.replace("\u2010\n", "").replace("\u2010", "-"))
    assert "tallygate 1.2.3" in text
    for words, options, _ in FORMS:
        assert " ".join(["tallygate", *words]) in text, words
        for option in options:
            assert option in text, option


def test_make_install_puts_everything_in_its_place(tmp_path):
    done = subprocess.run(["make", "-s", "install", f"DESTDIR={tmp_path}", "PREFIX=/usr"], cwd=ROOT,
                          capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    share = tmp_path / "usr/share"
    assert (share / "man/man1/tallygate.1").read_text().startswith(".TH TALLYGATE 1")
    assert "complete -o filenames -F _tallygate" in \
        (share / "bash-completion/completions/tallygate").read_text()
    assert (share / "zsh/site-functions/_tallygate").read_text().startswith("#compdef tallygate")
    assert subprocess.run([tmp_path / "usr/bin/tallygate", "--version"]).returncode == 0


# ---- --json of every command that reads ----

@pytest.mark.parametrize("args,keys", [
    (["check", "-c", "conf/tallygate.yaml"], {"ok", "findings", "good"}),
    (["check", "--keys"], {"keys"}), (["rules", "test", "lua_rules"], {"fixtures", "failed"})])
def test_json_is_alone_on_standard_output(args, keys):
    done = run(*args, "--json")
    assert json.loads(done.stdout).keys() == keys
    assert done.stderr.strip().splitlines()[-1].startswith(f"{args[0]}: ")


def test_the_findings_of_check_as_json():
    done = run("check", "--json", "-c", "/nonexistent/t.yaml")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert not said["ok"] and "/nonexistent/t.yaml" in said["findings"][0]
