-- Three remediations of Kubernetes, ready to adapt: restart a pod, add replicas, go back a
-- revision. rules/remediations.yaml says the same in YAML, by the same names: take one of the
-- two files. Nothing of this runs before guardrails.dry_run is off and guardrails.namespaces
-- names the namespaces; begin with trust = "recommend" and read for a week what they would have
-- done. docs/kubernetes.md tells what each checks, and what it undoes.

-- A container that is about to be killed for its memory: its working set, which is what the
-- kernel goes by, against its limit; a limit of 0 means none. The pod is evicted, so that a
-- disruption budget has its say.
playbook "pod-restart" {
  when = metric {
    query = [[max by (namespace, pod) (
                container_memory_working_set_bytes{container!=""}
                  > 0.9 * (container_spec_memory_limit_bytes{container!=""} > 0))]],
    hold_for = "5m",
  },
  trust = "auto",
  plan = function(event)
    return { kubernetes.restart { namespace = event.labels.namespace, pod = event.labels.pod } }
  end,
}

-- A Deployment whose pods use more than 80 % of the CPU that they ask for: the rate of the
-- counter, by what owns the pods (the recording rule that kube-prometheus ships), so that it
-- is one trigger, not one for each pod. Where an autoscaler owns the replicas, nothing is
-- done.
playbook "horizontal-scale" {
  when = metric {
    query = [[sum by (namespace, workload) (
                  rate(container_cpu_usage_seconds_total{container!=""}[5m])
                  * on (namespace, pod) group_left (workload)
                    namespace_workload_pod:kube_pod_owner:relabel{workload_type="deployment"})
              / sum by (namespace, workload) (
                  kube_pod_container_resource_requests{resource="cpu"}
                  * on (namespace, pod) group_left (workload)
                    namespace_workload_pod:kube_pod_owner:relabel{workload_type="deployment"})
              > 0.8]],
    hold_for = "10m",
  },
  trust = "auto",
  plan = function(event)
    return { kubernetes.scale { namespace = event.labels.namespace,
                                deployment = event.labels.workload,
                                increment = 2, min = 2, max = 10 } }
  end,
}

-- Too many errors: back to the revision before, once a person agrees. The alert has to have
-- the labels namespace and deployment. To have it go forward again where it does not help, add
--   verify { query = "…the share of errors…", below = 0.01, within = "10m", otherwise = "revert" }
playbook "rollback-deployment" {
  when = alert "HighErrorRate",
  trust = "human_approve",
  plan = function(event)
    return { kubernetes.rollback { namespace = event.labels.namespace,
                                   deployment = event.labels.deployment, revisions_back = 1 } }
  end,
}
