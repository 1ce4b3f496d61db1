/* The terminal, and the signals that ask us to end. */
#pragma once

#include <stdbool.h>

bool sys_term_interactive(void); /* stdin and stderr are a terminal */
bool sys_term_output(int fd);    /* that descriptor is a terminal */
int sys_term_width(int fd);      /* columns; 80 if unknown */

/* SIGINT, SIGTERM: counted, see sys_interrupted(). SIGHUP and SIGPIPE: ignored, so that a run goes
 * on without its terminal. Call once, early. */
void sys_signals_init(void);

/* 0: nobody asked; 1: end after the current step; 2 or more: end now. */
int sys_interrupted(void);
