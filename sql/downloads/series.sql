-- title: One series
-- question: Which images are there of one series?
-- grain: series
-- param id VARCHAR: the SeriesInstanceUID
select SeriesInstanceUID
from series
where SeriesInstanceUID = $id
group by SeriesInstanceUID
