"""The vocabulary of the seeded data: Latin, Arabic and awkward characters, as a real catalogue has them."""

from __future__ import annotations

BRANDS = ("Levant", "Dijla", "Furat", "Zagros", "Nînewa", "Sumer", "Ashur", "Küçük & Söhne", "Babil", "Ur-Tech")
NOUNS = (
    ("Wireless Mouse", "فأرة لاسلكية"),
    ("Keyboard", "لوحة مفاتيح"),
    ("Power Bank", "بنك طاقة"),
    ("USB-C Cable", "كيبل"),
    ("Wall Charger", "شاحن جداري"),
    ("Headphones", "سماعات رأس"),
    ("Phone Case", "غطاء هاتف"),
    ("Router", "راوتر"),
    ("Memory Card", "بطاقة ذاكرة"),
    ("LED Lamp 12″", "مصباح"),
    ("Tablet Stand", "حامل لوحي"),
    ("Smart Watch", "ساعة ذكية"),
    ('Screen 24"', "شاشة"),
    ("Café Grinder", "مطحنة قهوة"),
    ("Extension Cord", "سلك تمديد"),
    ("Toner", "حبر طابعة"),
)
SERVICES = ("Delivery Service", "Installation", "Repair", "Warranty Extension", "Consulting <on site>", "صيانة")
CATEGORIES = ("Accessories", "Audio", "Networking", "Power", "Storage", "Home", "Office", "")
UNITS = ("pcs", "pcs", "pcs", "box", "m", "kg")
SOURCES = ("user", "user", "csv", "api")
FIRST_NAMES = (
    "Ahmed",
    "Zainab",
    "Ali",
    "Maryam",
    "Hussein",
    "Noor",
    "Omar",
    "Sara",
    "Yousif",
    "Layla",
    "Mustafa",
    "Rusul",
)
LAST_NAMES = ("Al-Janabi", "Kareem", "Salman", "Al-Tikriti", "Hassan", "O'Brien", "Müller", "Jabbar", "Aziz", "Naji")
COMPANY_HEADS = (
    "Al Noor", "Al Rafidain", "Dar Al Salam", "Tigris", "Baghdad Star", "النور", "الرافدين", "Golden Palm",
    "Mesopotamia", "Basra Gate", "Erbil", "Nahrain", "دار السلام", "Kirkuk Plaza", "Mosul Bridge", "Samarra",
)  # fmt: skip
COMPANY_TAILS = (
    "Electronics",
    "Trading",
    "Stores",
    "للتجارة العامة",
    "Mobile",
    "& Sons",
    "Import/Export",
    "مركز",
    "Supplies",
)
VENDOR_HEADS = ("Shenzhen", "Guangzhou", "Istanbul", "Dubai", "Yiwu", "Amman", "Jiangsu", "İzmir", "München")
VENDOR_TAILS = ("Parts Co", "Trading FZE", "Elektronik A.Ş.", "GmbH", "Logistics", "Components Ltd", "Factory")
CITIES = ("Baghdad", "Basra", "Erbil", "Mosul", "Najaf", "Karbala", "Kirkuk", "بغداد")
STREETS = ("Al Rasheed St", "Palestine St", "Al Sa'doun St", "شارع المتنبي", "Karrada In", "Airport Rd", "Corniche")
REASONS = ("Stock taking", "Damaged goods", "Stolen goods", "Inventory Revaluation", "Stock written off")
RETURN_REASONS = ("Defective", "Wrong item", "Changed mind", "تالف")
NOTES = ("", "", "", "Thanks for your business.", "يرجى الدفع خلال المدة المحددة", "Deliver before noon — call first")
PAYMENT_MODES = ("cash", "cash", "Bank Transfer", "Check", "creditcard")
LOCATION_NAMES = ("Main Warehouse", "Wholesale Branch", "Basra Branch", "Erbil Branch", "مخزن الكرادة", "Online Store")
# name, pricing scheme ("" for a percentage on everything), the percentage, sales or purchases, status
PRICE_LISTS: tuple[tuple[str, str, float, str, str], ...] = (
    ("Wholesale A", "unit", 0.0, "sales", "active"), ("Wholesale B", "unit", 0.0, "sales", "active"),
    ("Retailers", "unit", 0.0, "sales", "active"), ("VIP", "unit", 0.0, "sales", "active"),
    ("Technicians", "unit", 0.0, "sales", "active"), ("أسعار الجملة", "unit", 0.0, "sales", "active"),
    ("Volume", "volume", 0.0, "sales", "active"), ("Volume Cables", "volume", 0.0, "sales", "active"),
    ("Retail +10%", "", 10.0, "sales", "active"), ("Staff -15%", "", -15.0, "sales", "active"),
    ("Export", "unit", 0.0, "sales", "inactive"), ("Purchase 2026", "unit", 0.0, "purchases", "active"),
)  # fmt: skip
