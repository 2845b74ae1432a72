--- kubernetes.restart: one pod, or all pods of a workload.
local check = require 'check'
local pod = require 'actions.kubernetes.restart_pod'
local target = require 'actions.kubernetes.target'
local workload = require 'actions.kubernetes.workload'
local workloads = require 'actions.kubernetes.restart_workload'

local one = target.one_of { 'pod', 'deployment', 'statefulset', 'daemonset' }

local SPEC = { delete = check.boolean(false), grace_period = check.duration(),
  timeout = target.TIMEOUT }
for name, rule in pairs(one.fields) do SPEC[name] = rule end

local function check_args(args)
  local wrong = one.check(args)
  if wrong then return wrong end
  if not args.pod and (args.delete or args.grace_period) then
    return '"delete" and "grace_period" are for a pod'
  end
end

local function preview(args, context)
  if args.pod then return pod.preview(args, context) end
  return workloads.preview(one.of(args), context)
end

local function run(args, context)
  if args.pod then return pod.run(args, context) end
  return workloads.run(one.of(args), context)
end

local function settled(args, context)
  if args.pod then return pod.settled(args, context) end
  return workload.settled(context.kubernetes, one.of(args), context.before, context.started_at)
end

local function find_out(args, context)
  if args.pod then return pod.find_out(args, context) end
  return workloads.find_out(one.of(args), context)
end

return { spec = SPEC, changes = true, check = check_args, target = one.target, scope = one.scope,
  preview = preview, run = run, settled = settled, find_out = find_out }
