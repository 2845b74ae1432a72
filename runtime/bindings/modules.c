#include "bindings/modules.h"

#include "bindings/bind.h"

const luaL_Reg bind_modules[] = {
    {"perigee.base64", luaopen_perigee_base64},
    {"perigee.boost", luaopen_perigee_boost},
    {"perigee.calendar", luaopen_perigee_calendar},
    {"perigee.clock", luaopen_perigee_clock},
    {"perigee.ecdf", luaopen_perigee_ecdf},
    {"perigee.features", luaopen_perigee_features},
    {"perigee.file", luaopen_perigee_file},
    {"perigee.forest", luaopen_perigee_forest},
    {"perigee.go_format", luaopen_perigee_go_format},
    {"perigee.hash", luaopen_perigee_hash},
    {"perigee.http_client", luaopen_perigee_http_client},
    {"perigee.http_server", luaopen_perigee_http_server},
    {"perigee.json", luaopen_perigee_json},
    {"perigee.log", luaopen_perigee_log},
    {"perigee.matrix", luaopen_perigee_matrix},
    {"perigee.measures", luaopen_perigee_measures},
    {"perigee.metrics", luaopen_perigee_metrics},
    {"perigee.moments", luaopen_perigee_moments},
    {"perigee.process", luaopen_perigee_process},
    {"perigee.regex", luaopen_perigee_regex},
    {"perigee.rules", luaopen_perigee_rules},
    {"perigee.series_file", luaopen_perigee_series_file},
    {"perigee.seasonal", luaopen_perigee_seasonal},
    {"perigee.seasonal_auto", luaopen_perigee_seasonal_auto},
    {"perigee.store", luaopen_perigee_store},
    {"perigee.task", luaopen_perigee_task},
    {"perigee.terminal", luaopen_perigee_terminal},
    {"perigee.url", luaopen_perigee_url},
    {"perigee.websocket", luaopen_perigee_websocket},
    {"perigee.yaml", luaopen_perigee_yaml},
    {NULL, NULL},
};

const luaL_Reg bind_cell_modules[] = {
    {"perigee.ecdf", luaopen_perigee_ecdf},
    {"perigee.moments", luaopen_perigee_moments},
    {NULL, NULL},
};
