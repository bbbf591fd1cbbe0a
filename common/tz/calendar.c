/*
 * The Gregorian calendar, counted in years that begin in March, so that the leap day is a year's last.
 */
#include "common/tz/calendar.h"

#define ERA_YEARS    400
#define ERA_DAYS     146097 /* in 400 years */
#define EPOCH_DAYS   719468 /* from 0000-03-01 to 1970-01-01 */
#define MARCH_MONTHS 10	    /* from March to January */

int64_t civil_to_days(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = floor_div(y, ERA_YEARS);
	int64_t year_of_era = y - era * ERA_YEARS;
	int64_t from_march = month > 2 ? month - 3 : month + 12 - 3;
	int64_t day_of_year =
		(153 * from_march + 2) / 5 + day - 1; /* months of 31, 30, 31, 30, 31 days, again and again */
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
	return era * ERA_DAYS + day_of_era - EPOCH_DAYS;
}

struct civil_date civil_from_days(int64_t days)
{
	int64_t since = days + EPOCH_DAYS;
	int64_t era = floor_div(since, ERA_DAYS);
	int64_t day_of_era = since - era * ERA_DAYS;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (ERA_DAYS - 1)) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t from_march = (5 * day_of_year + 2) / 153;
	struct civil_date d = {
		.day = (int)(day_of_year - (153 * from_march + 2) / 5 + 1),
		.month = (int)(from_march < MARCH_MONTHS ? from_march + 3 : from_march - 9),
	};
	d.year = year_of_era + era * ERA_YEARS + (d.month <= 2);
	return d;
}

int civil_weekday(int64_t days)
{
	const int epoch_weekday = 4; /* a Thursday */
	int64_t w = (days + epoch_weekday) % 7;
	return (int)(w < 0 ? w + 7 : w);
}

int civil_month_days(int64_t year, int month)
{
	return (int)(month == 12 ? 31 : civil_to_days(year, month + 1, 1) - civil_to_days(year, month, 1));
}
