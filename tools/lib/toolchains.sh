# Sourced: the toolchains that tools/install took from the Python index go first on the PATH. They are there only where
# the machine's own are missing or too old.
toolchains=${PERDURE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/perdure}/toolchains
if [ -d "$toolchains/bin" ]; then
	# Only the toolchains themselves: the environment's own python and pip stay out of the way.
	mkdir -p "$toolchains/path"
	for program in go node npm npx; do
		if [ -e "$toolchains/bin/$program" ]; then ln -sf "../bin/$program" "$toolchains/path/$program"; fi
	done
	PATH=$toolchains/path:$PATH
	export PATH
fi
