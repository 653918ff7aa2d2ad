-- fold_centre(name): the name of a centre normalised as in the column centre (sql/expressions/spelling.sql), for names
-- given by users: where centre = fold_centre($centre).
create or replace temp macro fold_centre(centre_name) as {{ centre_of_centre_name }};
