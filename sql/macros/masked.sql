-- masked(found): what of a value that may identify a person can be shown: its first character and its length.
create or replace temp macro masked(found) as left(trim(found), 1) || '… (' || length(trim(found)) || ')';
