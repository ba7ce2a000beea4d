"""Figures of merit: pure formulas that agents, boards and drills share."""


def pue(facility_w: float, it_w: float) -> float:
    """Compute the power usage effectiveness, ISO/IEC 30134-2.

    Parameters
    ----------
    facility_w
        All that the site draws, losses included. [W]
    it_w
        What IT equipment takes at its inputs. [W]

    Returns
    -------
    float
        At least 1; 0 where no IT runs, for then it has no meaning.

    Examples
    --------
    >>> round(pue(250e6, 206e6), 3)
    1.214
    """
    return facility_w / it_w if it_w > 0.0 else 0.0


def wue_l_kwh(water_l_min: float, it_w: float) -> float:
    """Compute the water usage effectiveness, ISO/IEC 30134-9.

    Parameters
    ----------
    water_l_min
        Water that the site takes. [L/min]
    it_w
        What IT equipment takes at its inputs. [W]

    Returns
    -------
    float
        Litres per kilowatt hour of IT; 0 where no IT runs. [L/kWh]

    Examples
    --------
    >>> round(wue_l_kwh(1442.0, 206e6), 2)
    0.42
    """
    return water_l_min * 60_000.0 / it_w if it_w > 0.0 else 0.0


def cue_kg_kwh(co2_kg_h: float, it_w: float) -> float:
    """Compute the carbon usage effectiveness, ISO/IEC 30134-8.

    Parameters
    ----------
    co2_kg_h
        Carbon dioxide of fuel burnt on site and of bought energy. [kg/h]
    it_w
        What IT equipment takes at its inputs. [W]

    Returns
    -------
    float
        Kilograms per kilowatt hour of IT; 0 where no IT runs. [kg/kWh]

    Examples
    --------
    >>> round(cue_kg_kwh(53_200.0, 206e6), 3)
    0.258
    """
    return co2_kg_h * 1000.0 / it_w if it_w > 0.0 else 0.0


def cost_usd_h(
    *,
    feed_w: float,
    fuel_mmbtu_h: float,
    water_l_min: float,
    feed_usd_per_mwh: float,
    gas_usd_per_mmbtu: float,
    water_usd_per_l: float,
) -> float:
    """Compute what the site spends per hour on energy and water.

    Parameters
    ----------
    feed_w
        From the utility. [W]
    fuel_mmbtu_h
        Gas, higher heating value. [MMBtu/h]
    water_l_min
        Water that the site takes. [L/min]
    feed_usd_per_mwh, gas_usd_per_mmbtu, water_usd_per_l
        Prices. [USD/MWh, USD/MMBtu, USD/L]

    Examples
    --------
    >>> round(cost_usd_h(feed_w=150e6, fuel_mmbtu_h=1113.0, water_l_min=1442.0, feed_usd_per_mwh=58.0,
    ...                  gas_usd_per_mmbtu=3.66, water_usd_per_l=0.0005))
    12817
    """
    return feed_w / 1e6 * feed_usd_per_mwh + fuel_mmbtu_h * gas_usd_per_mmbtu + water_l_min * 60.0 * water_usd_per_l


def lost_work_usd(lost_gpu_h: float, gpu_h_usd: float) -> float:
    """Compute what lost GPU hours are worth.

    Parameters
    ----------
    lost_gpu_h
        Hours of GPUs without useful progress. [h]
    gpu_h_usd
        Lease price of a GPU hour. [USD/h]

    Examples
    --------
    >>> lost_work_usd(10.0, 7.7)
    77.0
    """
    return lost_gpu_h * gpu_h_usd
