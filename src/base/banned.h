/* Included before everything: calls that have no place here do not compile. */
#pragma once
#ifndef CHANGEOVER_NO_BANNED
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok atoi atol atoll
#pragma GCC poison system popen mktemp tmpnam gmtime localtime gethostbyname usleep
#endif
