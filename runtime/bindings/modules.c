#include "bindings/modules.h"

#include "bindings/bind.h"

const luaL_Reg bind_modules[] = {
    {"perigee.clock", luaopen_perigee_clock},
    {"perigee.ecdf", luaopen_perigee_ecdf},
    {"perigee.matrix", luaopen_perigee_matrix},
    {"perigee.moments", luaopen_perigee_moments},
    {"perigee.task", luaopen_perigee_task},
    {NULL, NULL},
};

const luaL_Reg bind_cell_modules[] = {
    {"perigee.ecdf", luaopen_perigee_ecdf},
    {"perigee.moments", luaopen_perigee_moments},
    {NULL, NULL},
};
