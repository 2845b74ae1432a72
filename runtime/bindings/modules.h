/* modules.h - the openers of every module "perigee.<name>", one a file. */
#ifndef BINDINGS_MODULES_H
#define BINDINGS_MODULES_H

#include <lua.h>

int luaopen_perigee_base64(lua_State *L);
int luaopen_perigee_boost(lua_State *L);
int luaopen_perigee_calendar(lua_State *L);
int luaopen_perigee_clock(lua_State *L);
int luaopen_perigee_ecdf(lua_State *L);
int luaopen_perigee_features(lua_State *L);
int luaopen_perigee_file(lua_State *L);
int luaopen_perigee_forest(lua_State *L);
int luaopen_perigee_go_format(lua_State *L);
int luaopen_perigee_hash(lua_State *L);
int luaopen_perigee_http_client(lua_State *L);
int luaopen_perigee_http_server(lua_State *L);
int luaopen_perigee_json(lua_State *L);
int luaopen_perigee_log(lua_State *L);
int luaopen_perigee_matrix(lua_State *L);
int luaopen_perigee_measures(lua_State *L);
int luaopen_perigee_metrics(lua_State *L);
int luaopen_perigee_moments(lua_State *L);
int luaopen_perigee_process(lua_State *L);
int luaopen_perigee_regex(lua_State *L);
int luaopen_perigee_rules(lua_State *L);
int luaopen_perigee_series_file(lua_State *L);
int luaopen_perigee_seasonal(lua_State *L);
int luaopen_perigee_seasonal_auto(lua_State *L);
int luaopen_perigee_store(lua_State *L);
int luaopen_perigee_task(lua_State *L);
int luaopen_perigee_terminal(lua_State *L);
int luaopen_perigee_url(lua_State *L);
int luaopen_perigee_websocket(lua_State *L);
int luaopen_perigee_yaml(lua_State *L);

#endif
