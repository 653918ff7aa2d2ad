-- is_nhs_number(number): whether ten digits, with any separators, can be an NHS number: the last is the check digit of
-- the first nine, weighted 10 to 2, modulus 11 (NHS Data Dictionary, NHS NUMBER). Ten equal digits are a filler.
create or replace temp macro is_nhs_number(number) as coalesce(
    length(regexp_replace(number, '[^0-9]', '', 'g')) = 10
    and not regexp_matches(regexp_replace(number, '[^0-9]', '', 'g'), '^(?:0+|1+|2+|3+|4+|5+|6+|7+|8+|9+)$')
    and (11 - list_sum(list_transform(
        range(1, 10),
        lambda place: (11 - place) * try_cast(substr(regexp_replace(number, '[^0-9]', '', 'g'), place, 1) as integer)
    )) % 11) % 11 = try_cast(right(regexp_replace(number, '[^0-9]', '', 'g'), 1) as integer),
    false
);
