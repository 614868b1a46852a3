"""The closed lists of functions that a mapping may call; a name outside them is refused.

Each scalar's value follows from its arguments alone: nothing of clocks, chance, sessions, files, settings, or of
other rows (as ``stats`` has it). Aggregates and windows give the same value in whatever order a group's rows come,
or say the order.
"""


def words(text: str) -> frozenset[str]:
    """A set of names written in a row."""
    return frozenset(text.split())


_ARITHMETIC = """
+ - * / // % ** ^ @ & | ~ << >> xor abs sign ceil ceiling floor round round_even trunc exp ln log log2 log10 sqrt cbrt
pow power mod fmod fdiv greatest least even pi sin cos tan asin acos atan atan2 degrees radians isnan isinf isfinite
add subtract multiply divide gcd lcm factorial bit_count
"""
_CONDITIONS = "if nullif constant_or_null"
_TEXT = """
|| concat concat_ws lower lcase upper ucase trim ltrim rtrim lpad rpad left right substr substring substring_grapheme
replace reverse repeat translate split_part string_split str_split split string_to_array length len char_length
character_length strlen octet_length length_grapheme position strpos instr contains starts_with ends_with prefix suffix
like_escape not_like_escape ilike_escape not_ilike_escape ~~ !~~ ~~* !~~* ~~~ ^@ regexp_matches regexp_full_match
regexp_replace regexp_extract regexp_split_to_array regexp_escape strip_accents nfc_normalize ascii unicode ord chr
format printf md5 sha1 sha256 hex to_hex unhex from_hex to_base64 base64 from_base64 levenshtein editdist3
jaro_similarity jaro_winkler_similarity jaccard hamming damerau_levenshtein overlay
"""
_DATES = """
date_diff datediff date_sub datesub date_part datepart date_trunc datetrunc date_add last_day days_in_month make_date
make_timestamp strptime try_strptime strftime year month day quarter week weekday weekofyear yearweek isodow isoyear
dayofmonth dayofweek dayofyear dayname monthname decade century millennium era hour minute second millisecond
microsecond epoch epoch_ms epoch_us to_timestamp to_days to_weeks to_months to_quarters to_years to_hours to_minutes
to_seconds julian time_bucket
"""
_NESTED = """
list_value list_pack array_value list_extract list_element array_extract list_slice array_slice list_contains
list_has array_contains array_has list_position list_sort array_sort list_distinct array_length list_concat
array_concat list_sum list_min list_max list_avg list_count list_unique struct_pack struct_extract row map map_extract
map_extract_value map_keys map_values element_at cardinality array_to_string ->> json_extract json_extract_string
json_extract_path json_extract_path_text json_value json_array_length json_type json_valid json_exists
"""

SCALARS = words(f"{_ARITHMETIC} {_CONDITIONS} {_TEXT} {_DATES} {_NESTED}")

AGGREGATES = words("""
    count count_star count_if countif sum min max avg mean median mode product bool_and bool_or bit_and bit_or bit_xor
    stddev stddev_pop stddev_samp variance var_pop var_samp mad quantile quantile_cont quantile_disc kurtosis skewness
    entropy fsum kahan_sum sumkahan favg
    """)
"""Of a group of one customer's rows."""

ORDERED = words("""
    first last any_value arbitrary arg_max arg_min argmax argmin max_by min_by list array_agg string_agg group_concat
    listagg
    """)
"""Of a group too, with an ORDER BY inside: which of several rows they take must follow from the rows."""

WINDOWS = words("row_number rank dense_rank percent_rank cume_dist ntile") | words(
    "lag lead first_value last_value first last nth_value fill"
)
"""Over a PARTITION BY key, with an ORDER BY."""
