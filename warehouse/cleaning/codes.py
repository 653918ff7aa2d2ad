"""Reads codes and names: categories, booleans, report codes, PCR results, sex, ethnic group; and plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.cleaning import tables

if TYPE_CHECKING:
    import polars as pl

#: Entries whose first number is no code: one of several (a list, a range), in groups, with an exponent or another base.
_SEVERAL = (
    r"^[^0-9]*[0-9]+(?:\s*(?:[;,/&|+_'’:~=\\-]|\b(?:to|or|and|then)\b|[^\x00-\x7f\pL\pN\pZ])\s*[0-9]|\s+[0-9]"
    r"|\s*[½⅓⅔¼¾⅛⅜⅝⅞⁰¹²³⁴-⁹]|[a-z][+-]?[0-9])|^0x[0-9a-f]|&h[0-9a-f]"
)
_NEGATED = r"\b(?:un|non|not|nor|neither|no|never|except|excluding|other than)[\s-]*(?:a\s|an\s|of\s)?\s*{word}"
_DATE_LIKE = r"^[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}\b"


def _normalize_text() -> pl.Expr:
    """The text in lower case, with collapsed white space, and without the .0 of a whole number that was a float."""
    import polars as pl

    text = pl.col("text").str.to_lowercase().str.replace_all(r"\s+", " ")
    return text.str.replace(r"^([0-9]+)\.0*$", "$1")


def _look_up_codes(values: pl.DataFrame) -> pl.DataFrame:
    """Look `code` up among the codes of the field: adds code (null if it is not one or means unknown) and rules."""
    import polars as pl

    return (
        values.join(tables.build_code_frame(), on=["place", "code"], how="left")
        .with_columns(
            pl.col("says_unknown").is_null().alias("not_a_code"),
            pl.col("says_unknown").fill_null(False).alias("unknown_code"),
            pl.when(~pl.col("says_unknown")).then("code").alias("code"),
        )
        .drop("says_unknown")
    )


def read_category(values: pl.DataFrame) -> pl.DataFrame:
    """Read the first whole number of the entry, if it is a code of the field; not -1, 1.5 or part of a date."""
    import polars as pl

    bare = _normalize_text()
    first = bare.str.extract(r"([0-9]+(?:\.[0-9]+)?)").str.replace(r"\.0+$", "")
    is_no_code = (
        bare.str.contains(r"^(?:[^0-9]*[\s(\[:=])?[-.\u2212\ufe63\uff0d\u207b\u2010-\u2015]\s?[0-9]")
        | bare.str.contains(_DATE_LIKE)
        | bare.str.contains(_SEVERAL)
    )
    found = _look_up_codes(
        values.with_columns(pl.when(~is_no_code).then(first).cast(pl.Int64, strict=False).alias("code"))
    )
    return found.with_columns(
        pl.col("code").cast(pl.Int32).alias("value"),
        (~pl.col("not_a_code") & ~bare.str.contains("^[0-9]+$")).alias("code_from_text"),
    ).drop("code")


def read_boolean(values: pl.DataFrame) -> pl.DataFrame:
    """Read booleans: 1 is yes, 0 is no, and 2 is unknown if the field has it. Only some fields accept a code within
    words (`also_reads` mixed), and one accepts the word yes. JSON's true and false are accepted as such."""
    import polars as pl

    bare, also = _normalize_text(), pl.col("also_reads")
    mixed = read_category(values.filter(also == "mixed"))
    plain = (
        _look_up_codes(
            values.filter(also != "mixed").with_columns(
                pl.when(bare.str.contains("^[0-9]+$"))
                .then(bare)
                .when((also == "yes") & (bare == "yes"))
                .then(pl.lit("1"))
                .cast(pl.Int64, strict=False)
                .alias("code")
            )
        )
        .rename({"code": "value"})
        .with_columns((bare == "yes").alias("code_from_text"))
    )
    read = pl.concat([mixed.with_columns(pl.col("value").cast(pl.Int64)), plain], how="diagonal")
    words = (pl.col("form") == "boolean").fill_null(False)
    return read.with_columns(
        pl.when(words & (bare == "true"))
        .then(True)
        .when(words & (bare == "false"))
        .then(False)
        .otherwise(pl.col("value") == 1)
        .alias("value"),
        *(pl.when(words).then(False).otherwise(pl.col(rule)).alias(rule) for rule in ("not_a_code", "code_from_text")),
    )


def read_report_code(values: pl.DataFrame) -> pl.DataFrame:
    """Read a bare code of the field, or CVCX followed by one; no other entry with letters."""
    import polars as pl

    table = {text: int(code) for text, code in tables.read_mapping("covid_code").items() if code}
    found = _look_up_codes(
        values.with_columns(_normalize_text().replace_strict(table, default=None).cast(pl.Int64).alias("code"))
    )
    return found.with_columns(pl.col("code").cast(pl.Int32).alias("value")).drop("code")


def read_pcr_result(values: pl.DataFrame) -> pl.DataFrame:
    """Read Positive or Negative by code, or by the laboratory's phrase in fields that accept it."""
    import polars as pl

    table = tables.read_mapping("pcr_result")
    is_phrase = ~_normalize_text().str.contains("^[0-9]+$")
    found = _normalize_text().replace_strict(table, default=None, return_dtype=pl.String)
    return values.with_columns(
        pl.when(~is_phrase | (pl.col("also_reads") == "phrase")).then(found).alias("value")
    ).with_columns(
        pl.col("value").is_null().alias("not_a_result"), (pl.col("value").is_not_null() & is_phrase).alias("pcr_phrase")
    )


def read_sex(values: pl.DataFrame) -> pl.DataFrame:
    """Map to F or M by mappings.csv."""
    import polars as pl

    found = _normalize_text().replace_strict(tables.read_mapping("sex"), default=None, return_dtype=pl.String)
    return values.with_columns(found.alias("value")).with_columns(pl.col("value").is_null().alias("sex_not_known"))


def read_ethnicity(values: pl.DataFrame) -> pl.DataFrame:
    """Map to one of six groups: by code or description in mappings.csv, else by words in the text, else Unknown.

    A background of several groups is Multiple in any wording (NHS data dictionary, ethnic category code 2001, D to G):
    a word for mixed, two groups joined, or White with another. Only White is recognised by its word alone.
    """
    import polars as pl

    known = _normalize_text().replace_strict(tables.read_mapping("ethnicity"), default=None, return_dtype=pl.String)
    text = _normalize_text().str.normalize("NFKC").str.replace_all(r"[\u2010-\u2015\u2212]", "-")
    for word in tables.read_mapping("ethnicity_contains"):
        text = text.str.replace_all(_NEGATED.format(word=word), " ")
    # Whole regions and lists of all minorities do not name a second group.
    text = text.str.replace_all(
        r"\b(?:south|north|east|west)(?:ern)?\s+african?\b|\bb\.?a\.?m\.?e\b.*|.*\bminorit.*", " "
    )
    groups = tables.read_mapping("ethnicity_group_word")
    named = pl.concat_list(
        pl.when(text.str.contains(rf"\b(?:{'|'.join(w for w, g in groups.items() if g == group)})")).then(pl.lit(group))
        for group in dict.fromkeys(groups.values())
    ).list.drop_nulls()
    is_joined = text.str.contains(r"&|\+|/|\band\b|\bwith\b")
    # Groups that may be words for a White background too (White Hispanic) count as another only when joined.
    names_other = text.str.contains(rf"\b(?:{'|'.join(tables.read_mapping('ethnicity_joined_word'))})")
    several = (named.list.len() > 1) & (
        named.list.contains(pl.lit("White")) & ~text.str.contains(r"\bor\b") | is_joined
    ) | (named.list.len() > 0) & names_other & is_joined
    by_words = pl.coalesce(
        pl.when(text.str.contains(word, literal=True) & (pl.lit(group == "Multiple") | (named.list.len() < 2))).then(
            pl.lit(group)
        )
        for word, group in tables.read_mapping("ethnicity_contains").items()
    )
    return (
        values.with_columns(
            known.alias("known"), pl.coalesce(pl.when(several).then(pl.lit("Multiple")), by_words).alias("by_words")
        )
        .with_columns(
            pl.coalesce("known", "by_words", pl.lit("Unknown")).alias("value"),
            (pl.col("known").is_null() & pl.col("by_words").is_not_null()).alias("ethnicity_by_words"),
            (pl.col("known").is_null() & pl.col("by_words").is_null()).alias("ethnicity_not_recognised"),
        )
        .drop("known", "by_words")
    )


def read_text(values: pl.DataFrame) -> pl.DataFrame:
    """Return the text as submitted, trimmed."""
    import polars as pl

    return values.with_columns(pl.col("text").alias("value"))
