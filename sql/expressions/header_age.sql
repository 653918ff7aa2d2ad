-- name: header_age
-- PatientAge in years. VR AS is a number of days, weeks, months or years (PS3.5, table 6.2-1); a bare number is years. A
-- year has as many of each as in sql/cleaning/mappings.csv.
try_cast(regexp_extract(PatientAge, '^ *([0-9]+(\.[0-9]+)?) *[DWMYdwmy]? *$', 1) as double)
/ case upper(right(trim(PatientAge), 1)) {{ age_divisors }} else 1 end
