-- A public view as untrusted SQL sees it: the same rows, from behind a sample of all of them.
--
-- DuckDB moves a filter down as far as it can, into the scan of the lake too, where it stands beside those of as-of date
-- and group in no certain order: a cast that fails would then show the value of a row that these keep back. It moves no
-- filter beneath a sample. Of all ways to stop it this costs least (measured over 8 million rows: nothing): whole vectors are
-- drawn, all of them. The view is temporary, so that its name comes before that of the lake's own.
create temp view if not exists {{ view }} as from {{ lake }}.main.{{ view }} using sample 100 percent (system)
