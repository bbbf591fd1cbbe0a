"""What the lint holds the source to, as tables. A new folder or library gets its line here."""

# Folders of common/ by layer: one may include those of lower layers, never its own layer's neighbours or higher ones.
LAYERS = {
    "base": 0,
    "mem": 1,
    "err": 2,
    "env": 3,
    "log": 3,
    "config": 3,
    "metrics": 3,
    "pb": 3,
    "tz": 3,
    "loop": 4,
    "http": 5,
    "grpc": 5,
    "trace": 5,
    "tls": 5,
    "rpc": 5,
    "pg": 5,
    "daemon": 6,
    "store": 6,
    "membership": 7,
    "relay": 8,
    "namespaces": 8,
    "node": 9,
    "edge": 10,
}

# Files that step out of their layer, and why.
LAYER_EXCEPTIONS = {
    ("common/base/bytes.c", "common/mem/mem.h"): "a growable buffer has to get its memory somewhere",
    ("common/base/heap.c", "common/mem/mem.h"): "the same",
}

# The functional core decides and does nothing else: of common/ it may see only these.
PURE = {"services/history/core": {"base", "mem", "err", "pb", "config", "tz"}}

# The single-process server is the one service that knows the others.
KNOWS_ALL_SERVICES = "services/standalone"

# (calls as a regular expression, where they are allowed, what to use instead). Only in common/ and services/.
BANNED_CALLS = [
    (r"malloc|calloc|realloc|strdup|strndup|asprintf|vasprintf|reallocarray", ["common/mem"], "common/mem"),
    (r"time|gettimeofday|clock_gettime|clock|timespec_get", ["common/loop", "common/log"], "env_wall_ns, env_mono_ns"),
    (r"rand|random|srand|srandom|drand48|getrandom|getentropy|RAND_bytes", ["common/loop"], "env_random"),
    (r"sleep|usleep|nanosleep|clock_nanosleep", [], "env_timer_start"),
    (r"nng_\w+", ["common/rpc"], "common/rpc"),
    (r"PQ[a-z]\w+", ["common/pg"], "common/pg"),
    (r"uv_\w+", ["common/loop", "common/grpc", "common/http"], "common/loop"),
    (r"nghttp2_\w+", ["common/grpc"], "common/grpc"),
    (r"MHD_\w+", ["common/http"], "common/http"),
    (r"curl_\w+", ["common/trace"], "common/trace"),
    (r"yaml_\w+", ["common/config"], "common/config"),
    (r"SSL_\w+", ["common/grpc"], "common/grpc"),
    (r"getenv|setenv|putenv", ["common/daemon"], "a setting (common/config/settings.def)"),
    (r"system|popen|execvp?|fork", [], "nothing: a daemon starts no programs"),
]

# Everywhere, tests included: functions that can't be used safely, or hide what happens.
BANNED_EVERYWHERE = {
    "gets": "fgets",
    "strcpy": "memcpy, arena_strdup",
    "strcat": "buf_printf",
    "sprintf": "snprintf, buf_printf, arena_printf",
    "vsprintf": "vsnprintf",
    "strtok": "strsep",
    "alloca": "an arena",
    "setjmp": "struct err",
    "longjmp": "struct err",
    "tmpnam": "mkstemp",
    "mktemp": "mkstemp",
}

FILE_LINES_WARN = 600
FILE_LINES_MAX = 900
FUNCTION_LINES_WARN = 70
FUNCTION_LINES_MAX = 100

# Folders that need a README however few files they have; everywhere else from README_FILES_MIN files on.
README_ALWAYS = ["common/*", "services/*", "tests/*", "proto", "deploy", "tools"]
README_FILES_MIN = 4
# The README further up speaks for all folders below it.
README_ABOVE = ["tests/unit/*", "tests/oracle/*"]

# How a file begins that says what it is for, as its language does it. None: the language says it once a package.
PURPOSE = {
    ".c": r"/\*",
    ".h": r"/\*",
    ".def": r"/\*",
    ".proto": r"//|/\*",
    ".sql": r"--",
    ".py": r"(#!.*\n)?(\"\"\"|#)",
    ".sh": r"(#!.*\n)?#",
    ".go": None,
    ".ts": r"//|/\*",
    ".mjs": r"//|/\*",
    ".java": r"(package [^;]+;\s*)?(import [^;]+;\s*)*/\*\*",
}
