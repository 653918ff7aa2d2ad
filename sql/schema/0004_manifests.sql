-- 0004: the register of exported manifests. Its commits publish nothing: readers of the data stay where they are.
create table ops.manifests ({{ define_ops_manifests }});
