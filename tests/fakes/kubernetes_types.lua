--- What the Kubernetes fake knows of the API's types: its resources, and for each type its fields,
--- which of them must be there and by which key lists are merged.
local types = {}

-- -- resources ------------------------------------------------------------------------------------

---@class fakes.Resource
---@field group string        "" for the core group
---@field version string, plural string, kind string, short string  "deployments.apps"
---@field namespaced boolean
---@field status boolean      whether it has a status of its own subresource
---@field scale boolean
---@field generation boolean  whether its metadata.generation counts changes of the spec

local RESOURCES = {
  -- group, version, plural, kind; n: namespaced, s: status, c: scale, g: generation
  { '', 'v1', 'namespaces', 'Namespace', 's' },
  { '', 'v1', 'nodes', 'Node', 's' },
  { '', 'v1', 'pods', 'Pod', 'ns' },
  { '', 'v1', 'events', 'Event', 'n' },
  { '', 'v1', 'configmaps', 'ConfigMap', 'n' },
  { '', 'v1', 'secrets', 'Secret', 'n' },
  { '', 'v1', 'services', 'Service', 'ns' },
  { '', 'v1', 'serviceaccounts', 'ServiceAccount', 'n' },
  { '', 'v1', 'persistentvolumeclaims', 'PersistentVolumeClaim', 'ns' },
  { 'apps', 'v1', 'deployments', 'Deployment', 'nscg' },
  { 'apps', 'v1', 'replicasets', 'ReplicaSet', 'nscg' },
  { 'apps', 'v1', 'statefulsets', 'StatefulSet', 'nscg' },
  { 'apps', 'v1', 'daemonsets', 'DaemonSet', 'nsg' },
  { 'apps', 'v1', 'controllerrevisions', 'ControllerRevision', 'n' },
  { 'autoscaling', 'v2', 'horizontalpodautoscalers', 'HorizontalPodAutoscaler', 'ns' },
  { 'policy', 'v1', 'poddisruptionbudgets', 'PodDisruptionBudget', 'nsg' },
  { 'coordination.k8s.io', 'v1', 'leases', 'Lease', 'n' },
  { 'rbac.authorization.k8s.io', 'v1', 'roles', 'Role', 'n' },
  { 'rbac.authorization.k8s.io', 'v1', 'rolebindings', 'RoleBinding', 'n' },
  { 'rbac.authorization.k8s.io', 'v1', 'clusterroles', 'ClusterRole', '' },
  { 'rbac.authorization.k8s.io', 'v1', 'clusterrolebindings', 'ClusterRoleBinding', '' },
}

types.resources, types.by_kind = {}, {}
for _, r in ipairs(RESOURCES) do
  local group, version, plural, kind, flags = table.unpack(r)
  local resource = { group = group, version = version, plural = plural, kind = kind,
    short = group == '' and plural or plural .. '.' .. group,
    api_version = group == '' and version or group .. '/' .. version,
    namespaced = flags:find 'n' ~= nil, status = flags:find 's' ~= nil,
    scale = flags:find 'c' ~= nil, generation = flags:find 'g' ~= nil }
  table.insert(types.resources, resource)
  types.by_kind[kind] = resource
end

--- The resource of a group's version, or nil.
---@return fakes.Resource?
function types.find(group, version, plural)
  for _, r in ipairs(types.resources) do
    if r.group == group and r.version == version and r.plural == plural then return r end
  end
end

-- -- fields ---------------------------------------------------------------------------------------

-- A word is name:type, with "!" where it must be there. Types are str, int, bool, map (of texts),
-- time, intstr, obj (any object), any, the name of another type, []type for a list that is
-- replaced whole, and []type/key for one whose items are merged by that key.
local FIELDS = {
  ObjectMeta = [[annotations:map creationTimestamp:time deletionGracePeriodSeconds:int
    deletionTimestamp:time finalizers:[]str generateName:str generation:int labels:map
    managedFields:[]obj name:str namespace:str ownerReferences:[]OwnerReference/uid
    resourceVersion:str selfLink:str uid:str]],
  OwnerReference = [[apiVersion!:str blockOwnerDeletion:bool controller:bool kind!:str name!:str
    uid!:str]],
  LabelSelector = 'matchExpressions:[]LabelSelectorRequirement matchLabels:map',
  LabelSelectorRequirement = 'key!:str operator!:str values:[]str',
  Condition = [[lastTransitionTime:time lastUpdateTime:time lastProbeTime:time
    lastHeartbeatTime:time message:str observedGeneration:int reason:str status!:str type!:str]],
  Namespace = 'spec:any status:any',
  Node = 'spec:NodeSpec status:NodeStatus',
  NodeSpec = [[externalID:str podCIDR:str podCIDRs:[]str providerID:str taints:[]Taint
    unschedulable:bool configSource:obj]],
  Taint = 'effect!:str key!:str timeAdded:time value:str',
  NodeStatus = [[addresses:[]obj/type allocatable:map capacity:map conditions:[]Condition/type
    config:obj daemonEndpoints:obj features:obj images:[]obj nodeInfo:any phase:str
    runtimeHandlers:[]obj volumesAttached:[]obj volumesInUse:[]str]],
  Pod = 'spec!:PodSpec status:PodStatus',
  PodSpec = [[activeDeadlineSeconds:int affinity:obj automountServiceAccountToken:bool
    containers!:[]Container/name dnsConfig:obj dnsPolicy:str enableServiceLinks:bool
    ephemeralContainers:[]Container/name hostAliases:[]obj/ip hostIPC:bool hostNetwork:bool
    hostPID:bool hostUsers:bool hostname:str imagePullSecrets:[]obj/name
    initContainers:[]Container/name nodeName:str nodeSelector:map os:obj overhead:map
    preemptionPolicy:str priority:int priorityClassName:str readinessGates:[]obj
    resourceClaims:[]obj/name resources:obj restartPolicy:str runtimeClassName:str
    schedulerName:str schedulingGates:[]obj/name securityContext:obj serviceAccount:str
    serviceAccountName:str setHostnameAsFQDN:bool shareProcessNamespace:bool subdomain:str
    terminationGracePeriodSeconds:int tolerations:[]obj
    topologySpreadConstraints:[]obj/topologyKey volumes:[]Volume/name]],
  Container = [[args:[]str command:[]str env:[]EnvVar/name envFrom:[]obj image:str
    imagePullPolicy:str lifecycle:obj livenessProbe:obj name!:str
    ports:[]ContainerPort/containerPort readinessProbe:obj resizePolicy:[]obj resources:obj
    restartPolicy:str securityContext:obj startupProbe:obj stdin:bool stdinOnce:bool
    targetContainerName:str terminationMessagePath:str terminationMessagePolicy:str tty:bool
    volumeDevices:[]obj/devicePath volumeMounts:[]VolumeMount/mountPath workingDir:str]],
  Volume = [[name!:str awsElasticBlockStore:obj azureDisk:obj azureFile:obj cephfs:obj
    configMap:obj csi:obj downwardAPI:obj emptyDir:obj ephemeral:obj fc:obj flexVolume:obj
    gcePersistentDisk:obj glusterfs:obj hostPath:obj image:obj iscsi:obj nfs:obj
    persistentVolumeClaim:obj projected:obj rbd:obj secret:obj]],
  EnvVar = 'name!:str value:str valueFrom:obj',
  ContainerPort = 'containerPort!:int hostIP:str hostPort:int name:str protocol:str',
  VolumeMount = [[mountPath!:str mountPropagation:str name!:str readOnly:bool
    recursiveReadOnly:str subPath:str subPathExpr:str]],
  PodStatus = [[conditions:[]Condition/type containerStatuses:[]obj
    ephemeralContainerStatuses:[]obj hostIP:str hostIPs:[]obj/ip initContainerStatuses:[]obj
    message:str nominatedNodeName:str phase:str podIP:str podIPs:[]obj/ip qosClass:str reason:str
    resize:str resourceClaimStatuses:[]obj/name startTime:time]],
  PodTemplateSpec = 'metadata:ObjectMeta spec:PodSpec',
  Event = [[action:str count:int eventTime:time firstTimestamp:time involvedObject!:obj
    lastTimestamp:time message:str reason:str related:obj reportingComponent:str
    reportingInstance:str series:obj source:obj type:str]],
  ConfigMap = 'binaryData:map data:map immutable:bool',
  Secret = 'data:map immutable:bool stringData:map type:str',
  Service = 'spec:obj status:obj',
  PersistentVolumeClaim = 'spec:obj status:obj',
  ServiceAccount = [[automountServiceAccountToken:bool imagePullSecrets:[]obj/name
    secrets:[]obj/name]],
  Deployment = 'spec!:DeploymentSpec status:DeploymentStatus',
  DeploymentSpec = [[minReadySeconds:int paused:bool progressDeadlineSeconds:int replicas:int
    revisionHistoryLimit:int selector!:LabelSelector strategy:UpdateStrategy
    template!:PodTemplateSpec]],
  UpdateStrategy = 'rollingUpdate:RollingUpdate type:str',
  RollingUpdate = 'maxSurge:intstr maxUnavailable:intstr partition:int',
  DeploymentStatus = [[availableReplicas:int collisionCount:int conditions:[]Condition/type
    observedGeneration:int readyReplicas:int replicas:int unavailableReplicas:int
    updatedReplicas:int]],
  ReplicaSet = 'spec!:ReplicaSetSpec status:ReplicaSetStatus',
  ReplicaSetSpec = [[minReadySeconds:int replicas:int selector!:LabelSelector
    template:PodTemplateSpec]],
  ReplicaSetStatus = [[availableReplicas:int conditions:[]Condition/type
    fullyLabeledReplicas:int observedGeneration:int readyReplicas:int replicas:int]],
  StatefulSet = 'spec!:StatefulSetSpec status:StatefulSetStatus',
  StatefulSetSpec = [[minReadySeconds:int ordinals:obj persistentVolumeClaimRetentionPolicy:obj
    podManagementPolicy:str replicas:int revisionHistoryLimit:int selector!:LabelSelector
    serviceName:str template!:PodTemplateSpec updateStrategy:UpdateStrategy
    volumeClaimTemplates:[]obj]],
  StatefulSetStatus = [[availableReplicas:int collisionCount:int conditions:[]Condition/type
    currentReplicas:int currentRevision:str observedGeneration:int readyReplicas:int replicas:int
    updateRevision:str updatedReplicas:int]],
  DaemonSet = 'spec!:DaemonSetSpec status:DaemonSetStatus',
  DaemonSetSpec = [[minReadySeconds:int revisionHistoryLimit:int selector!:LabelSelector
    template!:PodTemplateSpec updateStrategy:UpdateStrategy]],
  DaemonSetStatus = [[collisionCount:int conditions:[]Condition/type currentNumberScheduled:int
    desiredNumberScheduled:int numberAvailable:int numberMisscheduled:int numberReady:int
    numberUnavailable:int observedGeneration:int updatedNumberScheduled:int]],
  ControllerRevision = 'data:any revision!:int',
  HorizontalPodAutoscaler = 'spec!:HorizontalPodAutoscalerSpec status:any',
  HorizontalPodAutoscalerSpec = [[behavior:obj maxReplicas!:int metrics:[]obj minReplicas:int
    scaleTargetRef!:obj]],
  PodDisruptionBudget = 'spec:PodDisruptionBudgetSpec status:PodDisruptionBudgetStatus',
  PodDisruptionBudgetSpec = [[maxUnavailable:intstr minAvailable:intstr selector:LabelSelector
    unhealthyPodEvictionPolicy:str]],
  PodDisruptionBudgetStatus = [[conditions:[]Condition/type currentHealthy:int desiredHealthy:int
    disruptedPods:obj disruptionsAllowed:int expectedPods:int observedGeneration:int]],
  Lease = 'spec:LeaseSpec',
  LeaseSpec = [[acquireTime:time holderIdentity:str leaseDurationSeconds:int
    leaseTransitions:int preferredHolder:str renewTime:time strategy:str]],
  Role = 'rules:[]obj',
  ClusterRole = 'rules:[]obj aggregationRule:obj',
  RoleBinding = 'subjects:[]obj roleRef!:obj',
  ClusterRoleBinding = 'subjects:[]obj roleRef!:obj',
  Scale = 'spec:ScaleSpec status:ScaleStatus',
  ScaleSpec = 'replicas:int',
  ScaleStatus = 'replicas:int selector:str',
}

---@class fakes.Field
---@field type string      of its items where it is a list
---@field list boolean
---@field key? string      by which a list is merged
---@field required boolean

---@type table<string, table<string, fakes.Field>>
types.fields = {}
for name, words in pairs(FIELDS) do
  local fields = {}
  if types.by_kind[name] or name == 'Scale' then
    words = words .. ' apiVersion:str kind:str metadata:ObjectMeta'
  end
  for field, must, list, type_, key in words:gmatch '(%w+)(!?):(%[?%]?)(%w+)/?(%w*)' do
    fields[field] = { type = type_, list = list ~= '', required = must ~= '',
      key = key ~= '' and key or nil }
  end
  types.fields[name] = fields
end

return types
