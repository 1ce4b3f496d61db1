#include "sys/term.h"

#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A signal handler has nowhere else to write to. */
static volatile sig_atomic_t interrupts;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupts = interrupts + 1;
}

void sys_signals_init(void)
{
    struct sigaction count = {.sa_handler = on_interrupt};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGINT, &count, NULL);
    (void)sigaction(SIGTERM, &count, NULL);
    (void)sigaction(SIGHUP, &ignore, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

int sys_interrupted(void)
{
    return interrupts;
}

bool sys_term_interactive(void)
{
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool sys_term_output(int fd)
{
    return isatty(fd);
}

int sys_term_width(int fd)
{
    struct winsize ws;
    if (ioctl(fd, TIOCGWINSZ, &ws) < 0 || ws.ws_col < 20)
        return 80;
    return ws.ws_col;
}
