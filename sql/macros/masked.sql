-- masked(found): the part of a possibly identifying value that may be shown: its first character and its length.
create or replace temp macro masked(found) as left(trim(found), 1) || '… (' || length(trim(found)) || ')';
