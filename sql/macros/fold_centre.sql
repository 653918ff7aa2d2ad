-- fold_centre(name): the name of a centre in the spelling of the column centre (sql/expressions/spelling.sql), for names that a
-- reader gives: where centre = fold_centre($centre).
create or replace temp macro fold_centre(centre_name) as {{ centre_of_centre_name }};
