// kubernetes_client.js URL TOKEN: the official client against a server that holds Deployment
// shop/checkout with three pods and a budget of two. Says what it has seen, a line each; ends with a
// failed assertion where the server is not what the client expects.
'use strict';
const assert = require('node:assert');

const NS = 'shop';
const steps = {};
const seen = (what) => console.log(`ok ${what}`);

async function refused(code, reason, promise) {
  const e = await promise.then(() => assert.fail(`not refused with ${code}`), (error) => error);
  assert.strictEqual(e.code, code, e.message);
  const status = typeof e.body === 'string' ? JSON.parse(e.body) : e.body;
  assert.strictEqual(status.kind, 'Status');
  assert.strictEqual(status.code, code);
  if (reason !== undefined) assert.strictEqual(status.reason, reason);
  return status;
}

// The last events of a watch, until one is there that is wanted or the stream ends.
function watched(c, path, query, wanted) {
  const events = [];
  return new Promise((resolve, reject) => {
    let controller;
    const timer = setTimeout(() => reject(new Error(`no event in time: ${JSON.stringify(events)}`)), 20000);
    const end = () => { clearTimeout(timer); if (controller) controller.abort(); resolve(events); };
    new c.k8s.Watch(c.config).watch(path, query, (type, object) => {
      events.push({ type, object });
      if (wanted(type, object)) end();
    }, (error) => (error && error.name !== 'AbortError' ? reject(error) : end()))
      .then((it) => { controller = it; });
  });
}

steps.version = async (c) => {
  assert.match((await c.version.getCode()).gitVersion, /^v1\./);
  const groups = await c.apis.getAPIVersions();
  assert.ok(groups.groups.some((g) => g.name === 'apps'));
  assert.ok((await c.apps.getAPIResources()).resources.some((r) => r.name === 'deployments/scale'));
};

steps.lists = async (c) => {
  const first = await c.core.listNamespacedPod({ namespace: NS, limit: 2 });
  assert.strictEqual(first.items.length, 2);
  assert.strictEqual(first.metadata.remainingItemCount, 1);
  const rest = await c.core.listNamespacedPod({ namespace: NS, limit: 2, _continue: first.metadata._continue });
  assert.strictEqual(rest.items.length, 1);
  assert.ok(rest.items[0].metadata.creationTimestamp instanceof Date);
  const none = await c.core.listPodForAllNamespaces({ labelSelector: 'app=other' });
  assert.strictEqual(none.items.length, 0);
  const node = first.items[0].spec.nodeName;
  const there = await c.core.listPodForAllNamespaces({ fieldSelector: `spec.nodeName=${node}` });
  assert.ok(there.items.every((p) => p.spec.nodeName === node));
};

steps.watches = async (c) => {
  const path = `/apis/apps/v1/namespaces/${NS}/deployments`;
  const { metadata } = await c.apps.listNamespacedDeployment({ namespace: NS });
  const events = watched(c, path, { resourceVersion: metadata.resourceVersion, allowWatchBookmarks: true },
    (type, o) => type === 'MODIFIED' && o.metadata.labels.watched === 'yes');
  await c.patch('merge', { metadata: { labels: { watched: 'yes' } } });
  const [last] = (await events).slice(-1);
  const resumed = await watched(c, path, { resourceVersion: metadata.resourceVersion }, () => true);
  assert.strictEqual(resumed[0].type, 'MODIFIED');
  const marks = await watched(c, path, { resourceVersion: last.object.metadata.resourceVersion,
    allowWatchBookmarks: true }, (type) => type === 'BOOKMARK');
  assert.ok(marks[marks.length - 1].object.metadata.resourceVersion);
  const old = await watched(c, path, { resourceVersion: '1' }, () => true);
  assert.strictEqual(old[0].type, 'ERROR');
  assert.strictEqual(old[0].object.code, 410);
  assert.strictEqual(old[0].object.reason, 'Expired');
};

steps.informer = async (c) => {
  const informer = c.k8s.makeInformer(c.config, `/api/v1/namespaces/${NS}/configmaps`,
    () => c.core.listNamespacedConfigMap({ namespace: NS }));
  const added = new Promise((resolve) => { informer.on('add', (o) => resolve(o)); });
  const gone = new Promise((resolve) => { informer.on('delete', (o) => resolve(o)); });
  await informer.start();
  await c.core.createNamespacedConfigMap({ namespace: NS, body: { metadata: { name: 'informed' }, data: { a: 'b' } } });
  assert.strictEqual((await added).data.a, 'b');
  await c.core.deleteNamespacedConfigMap({ namespace: NS, name: 'informed' });
  assert.strictEqual((await gone).metadata.name, 'informed');
  await informer.stop();
};

steps.strategic = async (c) => {
  await c.patch('strategic', { spec: { template: { metadata: { annotations: { 'kubectl.kubernetes.io/restartedAt': '2026-01-02T03:04:05Z' } } } } });
  const d = await c.patch('strategic', { spec: { template: { spec: { containers: [{ name: 'checkout', env: [{ name: 'A', value: '1' }] }] } } } });
  assert.strictEqual(d.spec.template.spec.containers[0].image, 'checkout:1');
  assert.strictEqual(d.spec.template.spec.containers[0].env.length, 1);
  const now = await c.apps.readNamespacedDeployment(c.it);
  assert.strictEqual(now.status.observedGeneration, now.metadata.generation);
  const { items } = await c.apps.listNamespacedReplicaSet({ namespace: NS, labelSelector: 'app=checkout' });
  assert.deepStrictEqual(items.map((s) => Number(s.metadata.annotations['deployment.kubernetes.io/revision'])).sort(), [1, 2, 3]);
};

steps.merge = async (c) => {
  const d = await c.patch('merge', { metadata: { annotations: { note: 'x' } } });
  assert.strictEqual(d.metadata.annotations.note, 'x');
  const bare = await c.patch('merge', { metadata: { annotations: { note: null } } });
  assert.strictEqual(bare.metadata.annotations.note, undefined);
  await refused(409, 'Conflict', c.patch('merge', { metadata: { resourceVersion: '1' }, spec: { replicas: 9 } }));
  await refused(422, 'Invalid', c.patch('merge', { spec: { replicas: 'many' } }));
  await refused(422, 'Invalid', c.patch('merge', { spec: { replicaz: 3 } }, { fieldValidation: 'Strict' }));
};

steps.json = async (c) => {
  const sets = await c.apps.listNamespacedReplicaSet({ namespace: NS });
  const first = sets.items.find((s) => s.metadata.annotations['deployment.kubernetes.io/revision'] === '1');
  const template = JSON.parse(JSON.stringify(first.spec.template));
  delete template.metadata.labels['pod-template-hash'];
  const now = await c.apps.readNamespacedDeployment(c.it);
  const back = [{ op: 'replace', path: '/metadata/resourceVersion', value: now.metadata.resourceVersion },
    { op: 'test', path: '/spec/replicas', value: 3 }, { op: 'replace', path: '/spec/template', value: template }];
  await c.patch('json', back);
  await refused(409, 'Conflict', c.patch('json', back));
  await refused(422, 'Invalid', c.patch('json', [{ op: 'test', path: '/spec/replicas', value: 8 }]));
  const rolled = await c.apps.readNamespacedDeployment(c.it);
  assert.strictEqual(rolled.metadata.annotations['deployment.kubernetes.io/revision'], '4');
};

steps.apply = async (c) => {
  const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied', namespace: NS }, data: { a: '1' } };
  const apply = (manager, data, force) => c.core.patchNamespacedConfigMap({ namespace: NS, name: 'applied',
    body: { ...body, data }, fieldManager: manager, force }, c.options('apply'));
  await apply('one', { a: '1' });
  const status = await refused(409, 'Conflict', apply('two', { a: '2' }));
  assert.strictEqual(status.details.causes[0].reason, 'FieldManagerConflict');
  assert.strictEqual((await apply('two', { a: '2' }, true)).data.a, '2');
};

steps.dry_run = async (c) => {
  const before = await c.apps.readNamespacedDeployment(c.it);
  const d = await c.patch('merge', { spec: { replicas: 7 } }, { dryRun: 'All' });
  assert.strictEqual(d.spec.replicas, 7);
  const after = await c.apps.readNamespacedDeployment(c.it);
  assert.strictEqual(after.metadata.resourceVersion, before.metadata.resourceVersion);
};

steps.scale = async (c) => {
  const scale = await c.apps.readNamespacedDeploymentScale(c.it);
  assert.strictEqual(scale.spec.replicas, 3);
  scale.spec.replicas = 4;
  assert.strictEqual((await c.apps.replaceNamespacedDeploymentScale({ ...c.it, body: scale })).spec.replicas, 4);
  await refused(409, 'Conflict', c.apps.replaceNamespacedDeploymentScale({ ...c.it, body: scale }));
  await refused(422, 'Invalid', c.apps.patchNamespacedDeploymentScale({ ...c.it, body: { spec: { replicas: -1 } } }, c.options('merge')));
  await c.apps.patchNamespacedDeploymentScale({ ...c.it, body: { spec: { replicas: 3 } } }, c.options('merge'));
};

steps.eviction = async (c) => {
  const { items } = await c.core.listNamespacedPod({ namespace: NS });
  const evict = (pod, uid) => c.core.createNamespacedPodEviction({ namespace: NS, name: pod.metadata.name,
    body: { metadata: { name: pod.metadata.name, namespace: NS }, deleteOptions: { preconditions: { uid } } } });
  await refused(409, 'Conflict', evict(items[0], 'another'));
  await evict(items[0], items[0].metadata.uid);
  await refused(404, 'NotFound', c.core.readNamespacedPod({ namespace: NS, name: items[0].metadata.name }));
  await c.policy.patchNamespacedPodDisruptionBudget({ namespace: NS, name: 'checkout', body: { spec: { minAvailable: 3 } } }, c.options('merge'));
  const status = await refused(429, 'TooManyRequests', evict(items[1], items[1].metadata.uid));
  assert.strictEqual(status.details.causes[0].reason, 'DisruptionBudget');
  const { uid } = items[1].metadata;
  const gone = await c.core.deleteNamespacedPod({ namespace: NS, name: items[1].metadata.name, body: { preconditions: { uid } } });
  assert.ok(gone.metadata.deletionTimestamp);
};

steps.leases = async (c) => {
  const body = { metadata: { name: 'leader', namespace: NS }, spec: { holderIdentity: 'a', leaseDurationSeconds: 15,
    acquireTime: new c.k8s.V1MicroTime(), renewTime: new c.k8s.V1MicroTime() } };
  const lease = await c.leases.createNamespacedLease({ namespace: NS, body });
  await refused(409, 'AlreadyExists', c.leases.createNamespacedLease({ namespace: NS, body }));
  lease.spec.holderIdentity = 'b';
  const renewed = await c.leases.replaceNamespacedLease({ namespace: NS, name: 'leader', body: lease });
  assert.strictEqual(renewed.spec.holderIdentity, 'b');
  await refused(409, 'Conflict', c.leases.replaceNamespacedLease({ namespace: NS, name: 'leader', body: lease }));
  await c.leases.deleteNamespacedLease({ namespace: NS, name: 'leader' });
};

steps.events = async (c) => {
  const d = await c.apps.readNamespacedDeployment(c.it);
  await c.core.createNamespacedEvent({ namespace: NS, body: { metadata: { name: 'checkout.1', namespace: NS }, type: 'Normal',
    reason: 'Tried', message: 'x', involvedObject: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'checkout', namespace: NS, uid: d.metadata.uid },
    source: { component: 'test' }, firstTimestamp: new Date(), lastTimestamp: new Date(), count: 1 } });
  const found = await c.core.listNamespacedEvent({ namespace: NS, fieldSelector: 'involvedObject.name=checkout' });
  assert.strictEqual(found.items[0].reason, 'Tried');
};

steps.nodes = async (c) => {
  const { items } = await c.core.listNode();
  await c.core.patchNode({ name: items[0].metadata.name, body: { spec: { unschedulable: true } } }, c.options('strategic'));
  assert.strictEqual((await c.core.readNode({ name: items[0].metadata.name })).spec.unschedulable, true);
};

steps.errors = async (c) => {
  await refused(404, 'NotFound', c.apps.readNamespacedDeployment({ namespace: NS, name: 'nothing' }));
  const raw = async (headers) => (await fetch(`${c.url}/apis/apps/v1/namespaces/${NS}/deployments/checkout`, headers)).json();
  assert.strictEqual((await raw({ headers: { Authorization: 'Bearer wrong' } })).code, 401);
  assert.match((await raw({})).message, /User "system:anonymous" cannot get resource/);
  const wrong = await raw({ method: 'PATCH', headers: { Authorization: `Bearer ${c.token}`, 'Content-Type': 'application/json' }, body: '{}' });
  assert.strictEqual(wrong.code, 415);
  const review = await c.access.createSelfSubjectAccessReview({ body: { spec: { resourceAttributes: { verb: 'get', resource: 'pods', namespace: NS } } } });
  assert.strictEqual(review.status.allowed, true);
};

async function main(url, token) {
  const k8s = await import(require.resolve('@kubernetes/client-node'));
  const config = new k8s.KubeConfig();
  config.loadFromOptions({ clusters: [{ name: 'c', server: url, skipTLSVerify: true }], users: [{ name: 'u', token }],
    contexts: [{ name: 'x', cluster: 'c', user: 'u' }], currentContext: 'x' });
  const types = { merge: k8s.PatchStrategy.MergePatch, json: k8s.PatchStrategy.JsonPatch,
    strategic: k8s.PatchStrategy.StrategicMergePatch, apply: k8s.PatchStrategy.ServerSideApply };
  const c = { k8s, config, url, token, it: { namespace: NS, name: 'checkout' } };
  for (const [name, api] of Object.entries({ core: 'CoreV1Api', apps: 'AppsV1Api', policy: 'PolicyV1Api', version: 'VersionApi',
    leases: 'CoordinationV1Api', access: 'AuthorizationV1Api', apis: 'ApisApi' })) c[name] = config.makeApiClient(k8s[api]);
  c.options = (type) => k8s.setHeaderOptions('Content-Type', types[type]);
  c.patch = (type, body, more) => c.apps.patchNamespacedDeployment({ ...c.it, body, ...more }, c.options(type));
  for (const [name, step] of Object.entries(steps)) {
    await step(c);
    seen(name);
  }
  process.exit(0); // the client keeps its connections
}

main(...process.argv.slice(2)).catch((e) => { console.error(e); process.exit(1); });
