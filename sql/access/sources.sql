-- The sources of the objects of a lake; warehouse/cli/access_policy.py runs it.
select distinct source from lake.raw.objects order by source;
