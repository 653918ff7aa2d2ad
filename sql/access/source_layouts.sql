-- The layouts of sources whose keys are laid out otherwise than by default; warehouse/cli/access_policy.py runs it.
select source, layout from lake.ops.layouts;
