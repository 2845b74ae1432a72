/* daemon_module.h - the Lua module perigee.daemon: what commands and generations ask of the
 * process. */
#ifndef APP_DAEMON_MODULE_H
#define APP_DAEMON_MODULE_H

#include <lauxlib.h>

/* Every table of C modules that a trusted state of this program has, for state_open(). */
extern const luaL_Reg *const app_modules[];

#endif
