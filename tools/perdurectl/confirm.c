/*
 * Asking before something is done that can't be taken back, or that others will feel; and who was asked.
 */
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "tools/perdurectl/ctl.h"

static bool says_yes(const char *answer)
{
	size_t len = strcspn(answer, "\r\n");
	return (len == 1 && (*answer == 'y' || *answer == 'Y')) || (len == 3 && strncasecmp(answer, "yes", 3) == 0);
}

struct err ctl_confirm(struct ctl *c, const char *yes, const char *what)
{
	char answer[16];
	if (yes)
		return err_ok;
	if (!isatty(STDIN_FILENO))
		return err_make(c->arena, ERR_FAILED_PRECONDITION,
				"%s: stdin is no terminal, so nobody can be asked; say --yes if that is meant", what);
	/* stdout is the result's. */
	fprintf(stderr, "%s. Go on? [y/N] ", what);
	fflush(stderr);
	if (!fgets(answer, sizeof answer, stdin) || !says_yes(answer))
		return err_static(ERR_ABORTED, "nothing was done");
	return err_ok;
}

const char *ctl_operator(struct ctl *c)
{
	char host[256] = "?";
	const struct passwd *user = getpwuid(getuid());
	gethostname(host, sizeof host - 1);
	if (user)
		return arena_printf(c->arena, "%s@%s", user->pw_name, host);
	return arena_printf(c->arena, "%u@%s", (unsigned)getuid(), host);
}
